/* Test double of libnvidia-ml.so.1 under the real pynvml.
 *
 * It answers from the text file that NVML_DOUBLE_STATE names, read again at each call; agent/simulation/nvml_library.py
 * describes the text and answers the same. -DWITHOUT_REMAPPED_ROWS leaves a symbol out, as an old driver does.
 * Source of signatures, structures and codes: nvml.h.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9,
       FUNCTION_NOT_FOUND = 13, ARGUMENT_VERSION_MISMATCH = 25 };
enum { LINE = 1024, KEY = 128, LINES = 4096 };
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2, LOCATION_DRAM = 2, GSP_VERSION = 64 };
enum { FABRIC_V2 = 0x02000024, FABRIC_V3 = 0x03000028 };
enum { FIELD_LINK_COUNT = 91, FIELD_LINK_STATE = 165, FIELD_RECOVERY_ACTION = 230, TYPE_SIGNED_LONG_LONG = 4 };

typedef int nvmlReturn;
typedef struct device device; /* never looked into: the pointer is the GPU's index and one */

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} pciInfo;

typedef struct {
    unsigned version, sensorType;
    int temperature;
} temperature;

typedef struct {
    unsigned version;
    unsigned long long aggregateParity, aggregateSecDed, aggregateCorrected, volatileParity, volatileSecDed,
        volatileCorrected, buckets[5];
    unsigned thresholdExceeded;
} sramStatus;

typedef struct {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpuInstance, computeInstance;
} processInfo;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memoryInfo;

typedef struct {
    unsigned fieldId, scopeId;
    int64_t timestamp, latencyUsec;
    unsigned valueType;
    nvmlReturn nvmlReturn;
    union { double d; unsigned ui; unsigned long ul; long long ll; } value;
} fieldValue;

typedef struct {
    unsigned version;
    unsigned char clusterUuid[16];
    nvmlReturn status;
    unsigned cliqueId, state, healthMask;
    unsigned char healthSummary; /* not in the second version */
} fabricInfo;

/* The state file as it was last read, and its lines. It is read again when it was replaced. */
static struct {
    struct stat seen;
    char *text;
    char *lines[LINES];
    int count, disturbs;
} state;

static void read_state(void) {
    const char *path = getenv("NVML_DOUBLE_STATE");
    struct stat now;
    FILE *file;
    if (!path || stat(path, &now)) { state.count = 0; return; }
    if (state.text && now.st_ino == state.seen.st_ino && now.st_size == state.seen.st_size &&
        now.st_mtim.tv_sec == state.seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == state.seen.st_mtim.tv_nsec) return;
    free(state.text);
    state.text = calloc(1, (size_t)now.st_size + 1);
    state.seen = now;
    state.count = state.disturbs = 0;
    file = fopen(path, "r");
    if (!file) return;
    if (fread(state.text, 1, (size_t)now.st_size, file) != (size_t)now.st_size) state.text[0] = 0;
    fclose(file);
    for (char *line = strtok(state.text, "\n"); line && state.count < LINES; line = strtok(NULL, "\n")) {
        state.lines[state.count++] = line;
        state.disturbs |= strstr(line, "hang ") || strstr(line, "fail ") || strstr(line, "missing ") ||
                          strstr(line, " return ");
    }
}

/* Copies what follows `key` on its last line into `value`; returns whether there is such a line. */
static int look(const char *key, char value[LINE]) {
    size_t length = strlen(key);
    read_state();
    for (int i = state.count - 1; i >= 0; i--) {
        const char *line = state.lines[i];
        if (strncmp(line, key, length) || (line[length] && line[length] != ' ')) continue;
        snprintf(value, LINE, "%s", line[length] ? line + length + 1 : "");
        return 1;
    }
    return 0;
}

static int look_gpu(const device *gpu, const char *key, char value[LINE]) {
    char whole[KEY];
    snprintf(whole, sizeof whole, "gpu %ld %s", (long)(intptr_t)gpu - 1, key);
    return look(whole, value);
}

static void hang(const char *manner) {
    if (!strcmp(manner, "stubborn")) signal(SIGTERM, SIG_IGN);
    for (;;) pause();
}

/* Hangs or returns a code other than SUCCESS if the state says so of `function`; `gpu` may be NULL. */
static nvmlReturn interfere(const char *function, const device *gpu) {
    const char *functions[] = {function, "*"};
    char key[KEY], value[LINE];
    read_state();
    if (!state.disturbs) return SUCCESS;
    for (int about = gpu ? 0 : 1; about < 2; about++)
        for (int i = 0; i < 2; i++) {
            snprintf(key, sizeof key, "hang %s", functions[i]);
            if (about ? look(key, value) : look_gpu(gpu, key, value)) hang(value);
            snprintf(key, sizeof key, "fail %s", functions[i]);
            if (about ? look(key, value) : look_gpu(gpu, key, value)) return atoi(value);
        }
    snprintf(key, sizeof key, "missing %s", function);
    if (look(key, value)) return FUNCTION_NOT_FOUND;
    return gpu && look_gpu(gpu, "return", value) ? atoi(value) : SUCCESS;
}

#define INTERFERE(gpu) do { nvmlReturn code = interfere(__func__, gpu); if (code) return code; } while (0)

static nvmlReturn text(int found, const char *value, char *out, unsigned length) {
    if (!found) return NOT_SUPPORTED;
    if (strlen(value) >= length) return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

nvmlReturn nvmlInitWithFlags(unsigned flags) {
    char value[LINE];
    (void)flags;
    if (!getenv("NVML_DOUBLE_STATE")) return DRIVER_NOT_LOADED;
    INTERFERE(NULL);
    return look("init", value) ? atoi(value) : SUCCESS;
}

nvmlReturn nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(nvmlReturn code) { (void)code; return "simulated error"; }

nvmlReturn nvmlSystemGetDriverVersion(char *out, unsigned length) {
    char value[LINE];
    INTERFERE(NULL);
    return text(look("driver", value), value, out, length);
}

nvmlReturn nvmlDeviceGetCount_v2(unsigned *count) {
    char value[LINE];
    INTERFERE(NULL);
    *count = look("count", value) ? (unsigned)atoi(value) : 0;
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetHandleByIndex_v2(unsigned index, device **gpu) {
    char value[LINE];
    *gpu = (device *)(intptr_t)(index + 1);
    INTERFERE(*gpu);
    return look("count", value) && index < (unsigned)atoi(value) ? SUCCESS : INVALID_ARGUMENT;
}

nvmlReturn nvmlDeviceGetUUID(device *gpu, char *out, unsigned length) {
    char value[LINE];
    INTERFERE(gpu);
    return text(look_gpu(gpu, "uuid", value), value, out, length);
}

nvmlReturn nvmlDeviceGetSerial(device *gpu, char *out, unsigned length) {
    char value[LINE];
    INTERFERE(gpu);
    return text(look_gpu(gpu, "serial", value), value, out, length);
}

nvmlReturn nvmlDeviceGetName(device *gpu, char *out, unsigned length) {
    char value[LINE];
    INTERFERE(gpu);
    return text(look_gpu(gpu, "name", value), value, out, length);
}

nvmlReturn nvmlDeviceGetPciInfo_v3(device *gpu, pciInfo *info) {
    char value[LINE];
    INTERFERE(gpu);
    if (!look_gpu(gpu, "pci", value)) strcpy(value, "0:0:0");
    sscanf(value, "%x:%x:%x", &info->domain, &info->bus, &info->device);
    snprintf(info->busId, sizeof info->busId, "%08X:%02X:%02X.0", info->domain, info->bus, info->device);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetTemperatureV(device *gpu, temperature *out) {
    char value[LINE];
    INTERFERE(gpu);
    if (!look_gpu(gpu, "temperature", value)) return NOT_SUPPORTED;
    out->temperature = atoi(value);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetTotalEccErrors(device *gpu, unsigned kind, unsigned counter, unsigned long long *count) {
    char value[LINE];
    unsigned long long counts[2] = {0, 0};
    (void)counter;
    INTERFERE(gpu);
    if (!look_gpu(gpu, "ecc", value)) return NOT_SUPPORTED;
    if (kind > 1) return INVALID_ARGUMENT;
    sscanf(value, "%llu %llu", &counts[0], &counts[1]);
    *count = counts[kind];
    return SUCCESS;
}

#ifndef WITHOUT_REMAPPED_ROWS
nvmlReturn nvmlDeviceGetRemappedRows(device *gpu, unsigned *correctable, unsigned *uncorrectable, unsigned *pending,
                                     unsigned *failed) {
    char value[LINE];
    INTERFERE(gpu);
    if (!look_gpu(gpu, "rows", value)) return NOT_SUPPORTED;
    sscanf(value, "%u %u %u %u", correctable, uncorrectable, pending, failed);
    return SUCCESS;
}
#endif

/* Finds the value of one scope among several, or the one that stands for all. */
static nvmlReturn scoped(int found, const char *text, unsigned scope, long long *value) {
    const char *at = text;
    if (!found) return NOT_SUPPORTED;
    for (unsigned i = 0; strchr(text, ' ') && i < scope; i++) {
        at = strchr(at, ' ');
        if (!at) return INVALID_ARGUMENT;
        at++;
    }
    if (*at == '!') return atoi(at + 1);
    *value = strtoll(at, NULL, 10);
    return SUCCESS;
}

/* Writes what there is for all scopes of a field into `value`, as the text of the state says it. */
static int look_field(const device *gpu, unsigned field, char value[LINE]) {
    char key[KEY], links[LINE];
    snprintf(key, sizeof key, "field %u", field);
    if (look_gpu(gpu, key, value)) return 1;
    if (field == FIELD_RECOVERY_ACTION) return look_gpu(gpu, "recovery", value);
    if (field == FIELD_LINK_COUNT && look_gpu(gpu, "links", links)) {
        snprintf(value, LINE, "%zu", strlen(links));
        return 1;
    }
    if (field != FIELD_LINK_STATE || !look_gpu(gpu, "links", links) || !*links) return 0;
    for (size_t i = 0; links[i]; i++) snprintf(value + 2 * i, LINE - 2 * i, "%c ", links[i]);
    value[2 * strlen(links) - 1] = 0;
    return 1;
}

nvmlReturn nvmlDeviceGetFieldValues(device *gpu, int count, fieldValue *values) {
    char value[LINE];
    int found = 0;
    INTERFERE(gpu);
    for (int i = 0; i < count; i++) {
        values[i].value.ll = 0;
        if (!i || values[i].fieldId != values[i - 1].fieldId) found = look_field(gpu, values[i].fieldId, value);
        values[i].nvmlReturn = scoped(found, value, values[i].scopeId, &values[i].value.ll);
        values[i].valueType = TYPE_SIGNED_LONG_LONG;
    }
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetNvLinkErrorCounter(device *gpu, unsigned link, unsigned counter, long long *count) {
    char key[KEY], value[LINE];
    INTERFERE(gpu);
    snprintf(key, sizeof key, "link_counter %u", counter);
    return scoped(look_gpu(gpu, key, value), value, link, count);
}

nvmlReturn nvmlDeviceGetGpuFabricInfoV(device *gpu, fabricInfo *info) {
    char value[LINE], cluster[33];
    unsigned summary = 0;
    int facts;
    INTERFERE(gpu);
    if (!look_gpu(gpu, "fabric", value)) return NOT_SUPPORTED;
    facts = sscanf(value, "%u %d %32s %u %x %u", &info->state, &info->status, cluster, &info->cliqueId,
                   &info->healthMask, &summary);
    if (info->version != FABRIC_V2 && !(info->version == FABRIC_V3 && facts == 6)) return ARGUMENT_VERSION_MISMATCH;
    for (int i = 0; i < 16; i++) sscanf(cluster + 2 * i, "%2hhx", &info->clusterUuid[i]);
    if (info->version == FABRIC_V3) info->healthSummary = (unsigned char)summary;
    return SUCCESS;
}

/* Number `position` of a fact, or what the fact has not: NOT_SUPPORTED. */
static nvmlReturn number_of(const device *gpu, const char *key, unsigned position, long long *number) {
    char value[LINE], *word = value;
    if (!look_gpu(gpu, key, value)) return NOT_SUPPORTED;
    for (unsigned i = 0; i < position; i++) {
        word = strchr(word, ' ');
        if (!word++) return NOT_SUPPORTED;
    }
    *number = strtoll(word, NULL, 10);
    return SUCCESS;
}

#define PUT(gpu, key, position, out) do { \
        long long number; \
        nvmlReturn found = number_of(gpu, key, position, &number); \
        if (found) return found; \
        *(out) = (__typeof__(*(out)))number; \
    } while (0)

#define NUMBER(function, key, position) \
    nvmlReturn function(device *gpu, unsigned *out) { INTERFERE(gpu); PUT(gpu, key, position, out); return SUCCESS; }

#define PAIR(function, key) \
    nvmlReturn function(device *gpu, unsigned *first, unsigned *second) { \
        long long number; \
        INTERFERE(gpu); PUT(gpu, key, 0, first); \
        *second = number_of(gpu, key, 1, &number) ? *first : (unsigned)number; \
        return SUCCESS; }

#define CLOCK(function, sm) \
    nvmlReturn function(device *gpu, unsigned type, unsigned *mhz) { \
        INTERFERE(gpu); \
        if (type != CLOCK_SM && type != CLOCK_MEMORY) return INVALID_ARGUMENT; \
        PUT(gpu, "clocks", (sm) + (type == CLOCK_MEMORY), mhz); return SUCCESS; }

NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie", 0)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie", 1)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie", 2)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie", 3)
NUMBER(nvmlDeviceGetPowerUsage, "power", 0)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power", 1)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, "power", 2)
NUMBER(nvmlDeviceGetPowerManagementLimit, "power", 1)
NUMBER(nvmlDeviceGetComputeMode, "compute_mode", 0)
NUMBER(nvmlDeviceGetPerformanceState, "pstate", 0)
NUMBER(nvmlDeviceGetPersistenceMode, "persistence", 0)
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, "retired", 2)
PAIR(nvmlDeviceGetEccMode, "ecc_mode")
PAIR(nvmlDeviceGetMigMode, "mig")
PAIR(nvmlDeviceGetGspFirmwareMode, "gsp_mode")
CLOCK(nvmlDeviceGetClockInfo, 0)
CLOCK(nvmlDeviceGetMaxClockInfo, 2)
CLOCK(nvmlDeviceGetApplicationsClock, 4)

nvmlReturn nvmlDeviceGetUtilizationRates(device *gpu, unsigned rates[2]) {
    INTERFERE(gpu);
    PUT(gpu, "utilization", 0, &rates[0]);
    PUT(gpu, "utilization", 1, &rates[1]);
    return SUCCESS;
}

#define REASONS(function) \
    nvmlReturn function(device *gpu, unsigned long long *reasons) { \
        INTERFERE(gpu); PUT(gpu, "reasons", 0, reasons); return SUCCESS; }

REASONS(nvmlDeviceGetCurrentClocksEventReasons)
REASONS(nvmlDeviceGetCurrentClocksThrottleReasons)

nvmlReturn nvmlDeviceGetMarginTemperature(device *gpu, int margin[2]) {
    INTERFERE(gpu);
    PUT(gpu, "margin", 0, &margin[1]);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetTemperatureThreshold(device *gpu, unsigned threshold, unsigned *celsius) {
    INTERFERE(gpu);
    PUT(gpu, "thresholds", threshold, celsius);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetMemoryErrorCounter(device *gpu, unsigned kind, unsigned counter, unsigned location,
                                           unsigned long long *count) {
    (void)counter;
    INTERFERE(gpu);
    if (location != LOCATION_DRAM) return NOT_SUPPORTED;
    PUT(gpu, "dram", kind, count);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetSramEccErrorStatus(device *gpu, sramStatus *status) {
    INTERFERE(gpu);
    PUT(gpu, "sram", 0, &status->volatileCorrected);
    PUT(gpu, "sram", 1, &status->volatileSecDed);
    PUT(gpu, "sram", 2, &status->aggregateSecDed);
    PUT(gpu, "sram", 3, &status->thresholdExceeded);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetRowRemapperHistogram(device *gpu, unsigned banks[5]) {
    INTERFERE(gpu);
    for (unsigned i = 0; i < 5; i++) PUT(gpu, "histogram", i, &banks[i]);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetRepairStatus(device *gpu, unsigned status[3]) {
    INTERFERE(gpu);
    PUT(gpu, "repair", 0, &status[1]);
    PUT(gpu, "repair", 1, &status[2]);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetUnrepairableMemoryFlag_v1(device *gpu, unsigned flag[2]) {
    INTERFERE(gpu);
    PUT(gpu, "unrepairable", 0, &flag[1]);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetRetiredPages_v2(device *gpu, unsigned cause, unsigned *count, unsigned long long *pages,
                                        unsigned long long *times) {
    unsigned held, room = *count;
    unsigned long long at;
    INTERFERE(gpu);
    PUT(gpu, "retired", cause, &held);
    PUT(gpu, "retired", 3, &at);
    *count = held;
    if (!pages || room < held) return held ? INSUFFICIENT_SIZE : SUCCESS;
    for (unsigned i = 0; i < held; i++) { pages[i] = i; times[i] = at; }
    return SUCCESS;
}

/* The fact is `PID:BYTES` a process. */
static nvmlReturn running(const device *gpu, const char *key, unsigned *count, processInfo *processes) {
    char value[LINE];
    unsigned held = 0, room = *count;
    if (!look_gpu(gpu, key, value)) return NOT_SUPPORTED;
    for (char *word = strtok(value, " "); word; word = strtok(NULL, " "), held++)
        if (processes && held < room) sscanf(word, "%u:%llu", &processes[held].pid, &processes[held].bytes);
    *count = held;
    return held > room || (held && !processes) ? INSUFFICIENT_SIZE : SUCCESS;
}

#define RUNNING(function, key) \
    nvmlReturn function(device *gpu, unsigned *count, processInfo *processes) { \
        INTERFERE(gpu); return running(gpu, key, count, processes); }

RUNNING(nvmlDeviceGetComputeRunningProcesses_v3, "processes")
RUNNING(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")
RUNNING(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps")

nvmlReturn nvmlDeviceGetMemoryInfo_v2(device *gpu, memoryInfo *info) {
    INTERFERE(gpu);
    PUT(gpu, "memory", 0, &info->used);
    return SUCCESS;
}

/* Says a fact about a GPU anew, by the number that was set; the last line about a fact counts. */
static nvmlReturn set(const device *gpu, const char *key, unsigned position, unsigned count, unsigned number) {
    long long numbers[8] = {0};
    FILE *file;
    for (unsigned i = 0; i < count; i++)
        if (number_of(gpu, key, i, &numbers[i])) return NOT_SUPPORTED;
    numbers[position] = number;
    file = fopen(getenv("NVML_DOUBLE_STATE"), "a");
    if (!file) return NOT_SUPPORTED;
    fprintf(file, "gpu %ld %s", (long)(intptr_t)gpu - 1, key);
    for (unsigned i = 0; i < count; i++) fprintf(file, " %lld", numbers[i]);
    fprintf(file, "\n");
    fclose(file);
    return SUCCESS;
}

#define SET(function, key, position, count) \
    nvmlReturn function(device *gpu, unsigned number) { INTERFERE(gpu); return set(gpu, key, position, count, number); }

SET(nvmlDeviceSetPersistenceMode, "persistence", 0, 1)
SET(nvmlDeviceSetComputeMode, "compute_mode", 0, 1)
SET(nvmlDeviceSetPowerManagementLimit, "power", 1, 3)

nvmlReturn nvmlDeviceSetApplicationsClocks(device *gpu, unsigned memory, unsigned sm) {
    INTERFERE(gpu);
    nvmlReturn code = set(gpu, "clocks", 4, 6, sm);
    return code ? code : set(gpu, "clocks", 5, 6, memory);
}

nvmlReturn nvmlDeviceGetVbiosVersion(device *gpu, char *out, unsigned length) {
    char value[LINE];
    INTERFERE(gpu);
    return text(look_gpu(gpu, "vbios", value), value, out, length);
}

nvmlReturn nvmlDeviceGetInforomImageVersion(device *gpu, char *out, unsigned length) {
    char value[LINE];
    INTERFERE(gpu);
    return text(look_gpu(gpu, "inforom", value), value, out, length);
}

nvmlReturn nvmlDeviceValidateInforom(device *gpu) {
    char value[LINE];
    INTERFERE(gpu);
    return look_gpu(gpu, "inforom", value) ? SUCCESS : NOT_SUPPORTED;
}

nvmlReturn nvmlDeviceGetGspFirmwareVersion(device *gpu, char *out) {
    char value[LINE];
    INTERFERE(gpu);
    return text(look_gpu(gpu, "gsp", value), value, out, GSP_VERSION);
}

nvmlReturn nvmlDeviceGetNvLinkState(device *gpu, unsigned link, unsigned *active) {
    char value[LINE];
    INTERFERE(gpu);
    if (!look_gpu(gpu, "links", value) || !*value) return NOT_SUPPORTED;
    if (link >= strlen(value)) return INVALID_ARGUMENT;
    *active = (unsigned)(value[link] - '0');
    return SUCCESS;
}
