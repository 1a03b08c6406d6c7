/* Test double of libcuda.so.1, the driver's part of CUDA, under agent/bench/cuda.py.
 *
 * Copies and fills are carried out, on memory that is kept as runs of equal words. Time is not spent but counted: each
 * stream has a clock, which work moves on by what the state says that it takes. Source of signatures and codes: cuda.h.
 */
#include "double.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, PEER_ACCESS_UNSUPPORTED = 217,
       INVALID_HANDLE = 400, NOT_READY = 600, ALREADY_ENABLED = 704 };
enum { MAJOR = 75, MINOR = 76, MULTICAST = 132, GPUS = 64, LINE = 512 };
static const uint32_t GARBAGE = 0xBAADF00D;
static const double GB = 1e9;

typedef struct { int gpu, references; } context;
typedef struct { uint64_t from, bytes; uint32_t value; } run;
typedef struct memory {
    uint64_t address, bytes;
    int gpu;
    size_t count;
    run *runs;
    struct memory *next;
} memory;
typedef struct { int gpu; double clock; int (*done)(void *); void *argument; } stream;
typedef struct { stream *stream; double time; int (*done)(void *); void *argument; long asked; } event;

static context contexts[GPUS];
static context *current;
static memory *memories;
static uint64_t next_address = 0x7f0000000000;
static char *state;

static const char *state_text(void) {
    if (state) return state;
    const char *path = getenv("CUDA_DOUBLE_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    state = calloc(1, 1 << 16);
    if (!file) return state;
    state[fread(state, 1, (1 << 16) - 1, file)] = 0;
    fclose(file);
    return state;
}

const char *double_text(const char *key, int gpu) {
    static char found[4][LINE];
    static int turn;
    char prefix[2][LINE];
    const char *best = NULL;
    snprintf(prefix[0], LINE, "%s ", key);
    snprintf(prefix[1], LINE, "gpu %d %s ", gpu, key);
    for (int own = 0; own < (gpu < 0 ? 1 : 2); own++)
        for (const char *line = state_text(); line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
            if (!strncmp(line, prefix[own], strlen(prefix[own]))) best = line + strlen(prefix[own]);
    if (!best) return NULL;
    char *copy = found[turn++ % 4];
    snprintf(copy, LINE, "%.*s", (int)strcspn(best, "\n"), best);
    return copy;
}

double double_number(const char *key, int gpu, double otherwise) {
    const char *text = double_text(key, gpu);
    return text ? atof(text) : otherwise;
}

void double_log(const char *text, ...) {
    const char *path = getenv("CUDA_DOUBLE_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    char line[LINE];
    va_list arguments;
    va_start(arguments, text);
    vsnprintf(line, LINE, text, arguments);
    va_end(arguments);
    fprintf(file, "%d %s\n", (int)getpid(), line);
    fclose(file);
}

int double_failure(const char *call, int gpu) {
    char key[LINE];
    const char *crash = double_text("crash", gpu);
    if (crash && !strcmp(crash, call)) abort();
    snprintf(key, LINE, "fail %s", call);
    return (int)double_number(key, gpu, 0);
}

int double_current_gpu(void) { return current ? current->gpu : -1; }

#define ENTER(...)                                       \
    do {                                                 \
        double_log(__VA_ARGS__);                         \
        int failure = double_failure(__func__, double_current_gpu()); \
        if (failure) return failure;                     \
    } while (0)

/* Memory */

static memory *memory_at(uint64_t address) {
    for (memory *each = memories; each; each = each->next)
        if (each->address <= address && address < each->address + each->bytes) return each;
    fprintf(stderr, "no memory at %llx\n", (unsigned long long)address);
    abort();
}

static void keep(memory *target, uint64_t from, uint64_t to, uint32_t value) {
    if (from >= to) return;
    run *last = target->count ? &target->runs[target->count - 1] : NULL;
    if (last && last->value == value && last->from + last->bytes == from) {
        last->bytes += to - from;
        return;
    }
    target->runs[target->count++] = (run){from, to - from, value};
}

void double_write(uint64_t address, uint64_t bytes, uint32_t value) {
    memory *target = memory_at(address);
    uint64_t from = address - target->address, to = from + bytes;
    run *old = target->runs;
    size_t count = target->count;
    if (to > target->bytes) abort();
    target->runs = calloc(count + 3, sizeof *old);
    target->count = 0;
    for (size_t i = 0; i < count && old[i].from < from; i++) {
        uint64_t end = old[i].from + old[i].bytes;
        keep(target, old[i].from, end < from ? end : from, old[i].value);
    }
    keep(target, from, to, value);
    for (size_t i = 0; i < count; i++) {
        uint64_t end = old[i].from + old[i].bytes;
        keep(target, old[i].from > to ? old[i].from : to, end, old[i].value);
    }
    free(old);
}

uint64_t double_run(uint64_t address, uint64_t bytes, uint32_t *value) {
    memory *source = memory_at(address);
    uint64_t from = address - source->address;
    for (size_t i = 0; i < source->count; i++) {
        uint64_t end = source->runs[i].from + source->runs[i].bytes;
        if (from >= end) continue;
        *value = source->runs[i].value;
        return end - from < bytes ? end - from : bytes;
    }
    abort();
}

static void copy(uint64_t target, uint64_t source, uint64_t bytes) {
    while (bytes) {
        uint32_t value;
        uint64_t some = double_run(source, bytes, &value);
        double_write(target, some, value);
        target += some, source += some, bytes -= some;
    }
}

static uint64_t taken(int gpu) {
    uint64_t bytes = (uint64_t)(double_number("foreign_gib", gpu, 0) * (1 << 30));
    for (memory *each = memories; each; each = each->next)
        if (each->gpu == gpu) bytes += each->bytes;
    return bytes;
}

static uint64_t total(int gpu) { return (uint64_t)(double_number("memory_gib", gpu, 80) * (1 << 30)); }

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    if (!current) return INVALID_CONTEXT;
    ENTER("cuMemAlloc %d %zu", current->gpu, bytes);
    if (bytes > total(current->gpu) - taken(current->gpu)) return OUT_OF_MEMORY;
    memory *made = calloc(1, sizeof *made);
    *made = (memory){next_address, bytes, current->gpu, 1, calloc(1, sizeof(run)), memories};
    made->runs[0] = (run){0, bytes, GARBAGE};
    memories = made;
    next_address += bytes + (1 << 20);
    *address = made->address;
    return SUCCESS;
}

int cuMemFree_v2(uint64_t address) {
    ENTER("cuMemFree %d", double_current_gpu());
    for (memory **each = &memories; *each; each = &(*each)->next) {
        if ((*each)->address != address) continue;
        memory *gone = *each;
        *each = gone->next;
        free(gone->runs);
        free(gone);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

int cuMemGetInfo_v2(size_t *left, size_t *whole) {
    if (!current) return INVALID_CONTEXT;
    *whole = total(current->gpu);
    *left = *whole - taken(current->gpu);
    return SUCCESS;
}

int cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
    (void)flags;
    ENTER("cuMemHostAlloc %d %zu", double_current_gpu(), bytes);
    *address = malloc(bytes);
    return *address ? SUCCESS : OUT_OF_MEMORY;
}

int cuMemFreeHost(void *address) {
    ENTER("cuMemFreeHost %d", double_current_gpu());
    free(address);
    return SUCCESS;
}

/* Work on streams */

void double_spend(void *where, double seconds) { ((stream *)where)->clock += seconds; }

void double_block(void *where, int (*done)(void *), void *argument) {
    ((stream *)where)->done = done;
    ((stream *)where)->argument = argument;
}

static void spend(stream *where, const char *key, uint64_t bytes, double otherwise) {
    where->clock += double_number("overhead_us", -1, 5) / 1e6 + bytes / (double_number(key, where->gpu, otherwise) * GB);
}

int cuMemsetD32Async(uint64_t target, unsigned value, size_t words, stream *where) {
    ENTER("cuMemsetD32Async %d %u %zu", where->gpu, value, words);
    double_write(target, words * 4, value);
    return SUCCESS;
}

int cuMemcpyHtoDAsync_v2(uint64_t target, const void *host, size_t bytes, stream *where) {
    ENTER("cuMemcpyHtoDAsync %d %zu", where->gpu, bytes);
    const uint32_t *words = host;
    for (size_t from = 0, to; from < bytes / 4; from = to) {
        for (to = from + 1; to < bytes / 4 && words[to] == words[from]; to++) {}
        double_write(target + from * 4, (to - from) * 4, words[from]);
    }
    spend(where, "h2d", bytes, 55);
    static int copies;
    if (copies++ < (int)double_number("asleep", -1, 0)) where->clock += 1;
    return SUCCESS;
}

int cuMemcpyDtoHAsync_v2(void *host, uint64_t source, size_t bytes, stream *where) {
    ENTER("cuMemcpyDtoHAsync %d %zu", where->gpu, bytes);
    uint32_t *words = host;
    spend(where, "d2h", bytes, 54);
    while (bytes) {
        uint32_t value;
        uint64_t some = double_run(source, bytes, &value);
        for (uint64_t i = 0; i < some / 4; i++) *words++ = value;
        source += some, bytes -= some;
    }
    return SUCCESS;
}

static void flip(uint64_t target, const char *key, int gpu) {
    if (double_number(key, gpu, 0)) double_write(target, 4, 0xDEAD);
}

int cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, stream *where) {
    ENTER("cuMemcpyDtoDAsync %d %zu", where->gpu, bytes);
    copy(target, source, bytes);
    flip(target, "wrong_copy", where->gpu);
    spend(where, "hbm", 2 * bytes, 2800);
    return SUCCESS;
}

int cuMemcpyPeerAsync(uint64_t target, context *to, uint64_t source, context *from, size_t bytes, stream *where) {
    ENTER("cuMemcpyPeerAsync %d %d %zu", from->gpu, to->gpu, bytes);
    copy(target, source, bytes);
    double other = double_number("peer", to->gpu, 380), own = double_number("peer", from->gpu, 380);
    where->clock += double_number("overhead_us", -1, 5) / 1e6 + bytes / ((own < other ? own : other) * GB);
    return SUCCESS;
}

int cuStreamCreate(stream **made, unsigned flags) {
    (void)flags;
    if (!current) return INVALID_CONTEXT;
    ENTER("cuStreamCreate %d", current->gpu);
    *made = calloc(1, sizeof **made);
    (*made)->gpu = current->gpu;
    return SUCCESS;
}

int cuStreamDestroy_v2(stream *gone) {
    ENTER("cuStreamDestroy %d", gone->gpu);
    free(gone);
    return SUCCESS;
}

int cuEventCreate(event **made, unsigned flags) {
    (void)flags;
    *made = calloc(1, sizeof **made);
    return SUCCESS;
}

int cuEventDestroy_v2(event *gone) {
    free(gone);
    return SUCCESS;
}

int cuEventRecord(event *mark, stream *where) {
    ENTER("cuEventRecord %d", where->gpu);
    *mark = (event){where, where->clock, where->done, where->argument, 0};
    return SUCCESS;
}

static int is_reached(int (*done)(void *), void *argument) { return !done || done(argument); }

int cuEventQuery(event *mark) {
    int failure = double_failure(__func__, double_current_gpu());
    if (failure) return failure;
    if (!mark->stream) return SUCCESS;
    int early = mark->asked++ < (long)double_number("ready_after", mark->stream->gpu, 1);
    return !early && is_reached(mark->done, mark->argument) ? SUCCESS : NOT_READY;
}

int cuStreamQuery(stream *where) { return is_reached(where->done, where->argument) ? SUCCESS : NOT_READY; }

int cuEventElapsedTime(float *milliseconds, event *first, event *second) {
    if (!first->stream || !second->stream) return INVALID_HANDLE;
    *milliseconds = (float)((second->time - first->time) * 1e3);
    return SUCCESS;
}

/* Devices and contexts */

static int gpus(void) { return (int)double_number("gpus", -1, 8); }

int cuInit(unsigned flags) {
    (void)flags;
    ENTER("cuInit");
    return gpus() ? SUCCESS : 100;
}

int cuDriverGetVersion(int *version) {
    *version = (int)double_number("driver", -1, 12080);
    return SUCCESS;
}

int cuGetErrorName(int code, const char **name) {
    (void)code;
    *name = "CUDA_ERROR_OF_THE_DOUBLE";
    return SUCCESS;
}

int cuGetErrorString(int code, const char **text) {
    if (code == 999) return INVALID_VALUE;
    *text = code == 220 ? "uncorrectable NVLink error detected during the execution" : "an error of the double";
    return SUCCESS;
}

int cuDeviceGetCount(int *count) {
    *count = gpus();
    return SUCCESS;
}

int cuDeviceGet(int *device, int index) {
    *device = index;
    return index < gpus() ? SUCCESS : 101;
}

int cuDeviceGetName(char *name, int size, int device) {
    const char *model = double_text("model", device);
    snprintf(name, (size_t)size, "%s", model ? model : "NVIDIA H100 80GB HBM3");
    return SUCCESS;
}

static void write_uuid(char *uuid, int device) {
    memset(uuid, 0, 16);
    uuid[15] = (char)device;
}

#ifndef WITHOUT_UUID /* as a driver may be after CUDA 13 */
int cuDeviceGetUuid(char *uuid, int device) {
    write_uuid(uuid, device);
    return SUCCESS;
}
#endif

#ifndef WITHOUT_UUID_V2 /* as before CUDA 11.4 */
int cuDeviceGetUuid_v2(char *uuid, int device) {
    write_uuid(uuid, device);
    if (double_number("mig", device, 0)) uuid[0] = 1;
    return SUCCESS;
}
#endif

int cuDeviceGetPCIBusId(char *text, int size, int device) {
    snprintf(text, (size_t)size, "0000:%02X:00.0", 0x1b + device);
    return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = total(device);
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int capability = (int)double_number("capability", device, 90);
    if (attribute == MULTICAST && double_text("multicast", device) && !strcmp(double_text("multicast", device), "unknown"))
        return INVALID_VALUE;
    *value = attribute == MAJOR ? capability / 10 : attribute == MINOR ? capability % 10
           : attribute == MULTICAST ? (int)double_number("multicast", device, 1) : 0;
    return SUCCESS;
}

int cuDeviceCanAccessPeer(int *can, int one, int other) {
    *can = one != other && double_number("peers", one, 1) && double_number("peers", other, 1);
    return SUCCESS;
}

int cuDeviceGetP2PAttribute(int *value, int attribute, int one, int other) {
    (void)attribute, (void)one, (void)other;
    *value = 0;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(context **made, int device) {
    ENTER("cuDevicePrimaryCtxRetain %d", device);
    contexts[device].gpu = device;
    contexts[device].references++;
    *made = &contexts[device];
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER("cuDevicePrimaryCtxRelease %d", device);
    return --contexts[device].references >= 0 ? SUCCESS : INVALID_CONTEXT;
}

int cuCtxSetCurrent(context *wanted) {
    current = wanted;
    return SUCCESS;
}

int cuCtxEnablePeerAccess(context *other, unsigned flags) {
    (void)flags;
    static char enabled[GPUS][GPUS];
    ENTER("cuCtxEnablePeerAccess %d %d", current->gpu, other->gpu);
    int can;
    cuDeviceCanAccessPeer(&can, current->gpu, other->gpu);
    if (!can) return PEER_ACCESS_UNSUPPORTED;
    if (enabled[current->gpu][other->gpu]++) return ALREADY_ENABLED;
    return SUCCESS;
}
