/* Test double of libnccl.so.2 under agent/bench/nccl.py, beside the double of libcuda.so.1.
 *
 * All-reduces are carried out on what the GPUs' memory holds; how long they take is told by the state, as bus bandwidth.
 * The ranks of several processes meet in the folder that CUDA_DOUBLE_SITE names, where each leaves files: what a rank
 * sends is there for the others to add. Source of signatures and codes: nccl.h.
 */
#include "double.h"

#include <dirent.h>
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS = 0, UNHANDLED_CUDA = 1, SYSTEM = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE = 6, IN_PROGRESS = 7 };
enum { INT32 = 2, SUM = 0, LEAST = 3, RANKS = 256, PATH = 512, OPERATIONS = 256, UNDEFINED = INT_MIN };
static const double GB = 1e9;

typedef struct { char internal[128]; } uniqueId;
typedef struct { size_t size; unsigned magic, version; int blocking, cgaClusterSize; } config;

typedef struct comm {
    char world[PATH]; /* folder of the communicator's files, empty within one process */
    int rank, ranks, gpu, blocking, operations, aborted, finalized, asked;
    struct comm **locals; /* all communicators of a world within one process */
} comm;

typedef struct {
    comm *comm;
    uint64_t send, receive;
    size_t words;
    int least, number;
    void *stream;
    int done;
} operation;

typedef struct { comm *parent; int color; comm **made; } splitting;

static operation *queued[OPERATIONS];
static splitting splits[OPERATIONS];
static int queues, splitting_count, depth;

#define ENTER(gpu, ...)                                          \
    do {                                                         \
        double_log(__VA_ARGS__);                                 \
        int failure = double_failure(__func__, gpu);             \
        if (failure) return failure;                             \
    } while (0)

static void touch(const char *folder, const char *name, const void *content, size_t bytes) {
    char path[2 * PATH], fresh[3 * PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(fresh, sizeof fresh, "%s.%d.new", path, (int)getpid());
    FILE *file = fopen(fresh, "wb");
    if (!file) return;
    fwrite(content, 1, bytes, file);
    fclose(file);
    rename(fresh, path);
}

static int is_there(const char *folder, const char *name) {
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, R_OK) == 0;
}

static int all_there(comm *world, const char *prefix, int number) {
    char name[PATH];
    for (int rank = 0; rank < world->ranks; rank++) {
        snprintf(name, sizeof name, "%s-%d-%d", prefix, number, rank);
        if (!is_there(world->world, name)) return 0;
    }
    return 1;
}

/* What a rank sends is written down as pairs of bytes and the word they hold. */
typedef struct { uint64_t bytes; uint32_t value, padding; } piece;

static size_t pieces_of(operation *one, piece *pieces, size_t most) {
    size_t count = 0;
    for (uint64_t at = 0, bytes = one->words * 4; at < bytes && count < most; at += pieces[count++].bytes) {
        pieces[count].padding = 0;
        pieces[count].bytes = double_run(one->send + at, bytes - at, &pieces[count].value);
    }
    return count;
}

static size_t pieces_in(comm *world, int number, int rank, piece *pieces, size_t most) {
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/sum-%d-%d", world->world, number, rank);
    FILE *file = fopen(path, "rb");
    size_t count = file ? fread(pieces, sizeof *pieces, most, file) : 0;
    if (file) fclose(file);
    return count;
}

enum { PIECES = 512 };

/* Add (or take the least of) what all ranks sent, piece by piece, and write it where it is received. */
static void reduce(operation *one, size_t counts[], piece (*sent)[PIECES], int ranks) {
    size_t at[RANKS] = {0};
    uint64_t left[RANKS], done = 0, bytes = one->words * 4;
    for (int rank = 0; rank < ranks; rank++) left[rank] = counts[rank] ? sent[rank][0].bytes : bytes;
    while (done < bytes) {
        uint64_t some = bytes - done;
        uint32_t value = one->least ? INT_MAX : 0;
        for (int rank = 0; rank < ranks; rank++) {
            uint32_t word = sent[rank][at[rank]].value;
            value = one->least ? ((int32_t)word < (int32_t)value ? word : value) : value + word;
            if (left[rank] < some) some = left[rank];
        }
        double_write(one->receive + done, some, value);
        done += some;
        for (int rank = 0; rank < ranks; rank++)
            if (!(left[rank] -= some) && at[rank] + 1 < counts[rank]) left[rank] = sent[rank][++at[rank]].bytes;
    }
    double wrong = double_number("wrong_sum", one->comm->gpu, -1);
    if (wrong >= 0 && !one->least && one->words > wrong) double_write(one->receive + (uint64_t)wrong * 4, 4, 0xBAD);
}

static int hangs(operation *one) {
    return !one->least && one->number >= (int)double_number("hang", one->comm->gpu, INT_MAX);
}

/* Asked by the double of libcuda: whether the work behind a mark is done. */
static int is_done(void *argument) {
    operation *one = argument;
    if (one->done || one->comm->aborted) return 1;
    if (hangs(one)) return 0;
    if (!all_there(one->comm, "sum", one->number)) return 0;
    static piece sent[RANKS][PIECES];
    size_t counts[RANKS];
    for (int rank = 0; rank < one->comm->ranks; rank++)
        counts[rank] = pieces_in(one->comm, one->number, rank, sent[rank], PIECES);
    reduce(one, counts, sent, one->comm->ranks);
    return one->done = 1;
}

static int says(const char *name, const char *value) { return getenv(name) && !strcmp(getenv(name), value); }

static double bus_bandwidth(comm *world) {
    if (says("NCCL_P2P_DISABLE", "1") && says("NCCL_SHM_DISABLE", "1")) return double_number("loopback", -1, 45);
    if (*world->world && strstr(world->world, "lane")) return double_number("lane", world->gpu, 48);
    if (*world->world) return double_number("net", world->gpu, 390);
    if (says("NCCL_NVLS_ENABLE", "0")) return double_number("ring", -1, 366);
    return double_number("nvls", -1, 478);
}

static void spend(operation *one) {
    int ranks = one->comm->ranks;
    double bytes = one->words * 4.0, factor = ranks > 1 ? 2.0 * (ranks - 1) / ranks : 1;
    double speed = ranks > 1 ? bus_bandwidth(one->comm) : double_number("one_rank", one->comm->gpu, 1400);
    double jitter = double_number("jitter", -1, 0) * (one->number % 5 == 0);
    double_spend(one->stream, double_number("latency_us", -1, 20) / 1e6 + factor * bytes / (speed * GB) * (1 + jitter));
}

static void carry_out_here(operation **all, int count) {
    static piece sent[RANKS][PIECES];
    size_t counts[RANKS];
    for (int rank = 0; rank < count; rank++) counts[rank] = pieces_of(all[rank], sent[rank], PIECES);
    for (int rank = 0; rank < count; rank++) {
        spend(all[rank]);
        if (hangs(all[rank])) double_block(all[rank]->stream, is_done, all[rank]);
        else reduce(all[rank], counts, sent, count);
    }
}

static void carry_out_together(operation *one) {
    char name[PATH];
    piece pieces[PIECES];
    snprintf(name, sizeof name, "sum-%d-%d", one->number, one->comm->rank);
    if (!hangs(one)) touch(one->comm->world, name, pieces, sizeof *pieces * pieces_of(one, pieces, PIECES));
    spend(one);
    double_block(one->stream, is_done, one);
}

static int carry_out(void) {
    for (int i = 0; i < queues; i++)
        if (*queued[i]->comm->world) carry_out_together(queued[i]);
    for (int i = 0; i < queues; i++) {
        comm *first = queued[i]->comm;
        if (*first->world || first->rank) continue;
        operation *all[RANKS];
        int count = 0;
        for (int j = 0; j < queues; j++)
            if (queued[j]->comm->locals == first->locals) all[queued[j]->comm->rank] = queued[j], count++;
        if (count != first->ranks) return INVALID_USAGE;
        carry_out_here(all, count);
    }
    queues = 0;
    return SUCCESS;
}

static comm *new_comm(int rank, int ranks, int gpu) {
    comm *made = calloc(1, sizeof *made);
    made->rank = rank, made->ranks = ranks, made->gpu = gpu;
    return made;
}

/* A split is known once all ranks of the parent have said which color they are of. */
static void try_splits(comm *parent) {
    for (int i = 0; i < splitting_count; i++) {
        splitting *one = &splits[i];
        if (one->parent != parent || !one->made || !all_there(parent, "split", 0)) continue;
        int rank = 0, ranks = 0;
        for (int other = 0; other < parent->ranks; other++) {
            char path[2 * PATH];
            int color = -1;
            snprintf(path, sizeof path, "%s/split-0-%d", parent->world, other);
            FILE *file = fopen(path, "rb");
            if (file) color = fread(&color, sizeof color, 1, file) ? color : -1, fclose(file);
            rank += color == one->color && other < parent->rank;
            ranks += color == one->color;
        }
        comm *made = new_comm(rank, ranks, parent->gpu);
        snprintf(made->world, PATH, "%.400s/lane%d", parent->world, one->color);
        mkdir(made->world, 0755);
        touch(made->world, "here-0-0", "", 0);
        char name[PATH];
        snprintf(name, sizeof name, "here-0-%d", rank);
        touch(made->world, name, "", 0);
        *one->made = made;
        one->made = NULL;
    }
}

int ncclGetVersion(int *version) {
    *version = (int)double_number("nccl", -1, 22803);
    return SUCCESS;
}

const char *ncclGetErrorString(int code) {
    return code == UNHANDLED_CUDA ? "unhandled cuda error" : code == SYSTEM ? "unhandled system error"
         : code == REMOTE ? "remote process exited or there was a network error" : "internal error";
}

const char *ncclGetLastError(comm *world) {
    (void)world;
    const char *text = double_text("last_error", -1);
    return text ? text : "";
}

int ncclGetUniqueId(uniqueId *made) {
    ENTER(-1, "ncclGetUniqueId");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memset(made, 0, sizeof *made);
    snprintf(made->internal, 8, "%d", (int)getpid() % 1000000);
    if (double_number("hidden_address", -1, 0)) return SUCCESS;
    memcpy(made->internal + 8, &address, sizeof address);
    return SUCCESS;
}

int ncclCommInitAll(comm **made, int count, const int *gpus) {
    ENTER(-1, "ncclCommInitAll %d", count);
    while (double_number("hang_init", -1, 0)) sleep(1);
    comm **locals = calloc(count, sizeof *locals);
    for (int rank = 0; rank < count; rank++) {
        made[rank] = locals[rank] = new_comm(rank, count, gpus[rank]);
        locals[rank]->locals = locals;
        locals[rank]->blocking = 1;
    }
    return SUCCESS;
}

#ifndef WITHOUT_RANK_CONFIG /* as before NCCL 2.14 */
int ncclCommInitRankConfig(comm **made, int ranks, uniqueId id, int rank, config *wanted) {
    ENTER(double_current_gpu(), "ncclCommInitRankConfig %d of %d on %d size %zu version %u blocking %d", rank, ranks,
          double_current_gpu(), wanted->size, wanted->version, wanted->blocking);
    if (wanted->magic != 0xcafebeef || wanted->size < 20 || wanted->blocking != 0) return INVALID_ARGUMENT;
    if (wanted->size > 20 && wanted->cgaClusterSize != UNDEFINED) return INVALID_ARGUMENT;
    comm *one = *made = new_comm(rank, ranks, double_current_gpu());
    snprintf(one->world, PATH, "%.300s/%.8s", getenv("CUDA_DOUBLE_SITE"), id.internal);
    mkdir(one->world, 0755);
    char name[PATH];
    snprintf(name, sizeof name, "here-0-%d", rank);
    touch(one->world, name, "", 0);
    return IN_PROGRESS;
}
#endif

#ifndef WITHOUT_SPLIT /* as before NCCL 2.18 */
int ncclCommSplit(comm *parent, int color, int key, comm **made, void *wanted) {
    (void)wanted, (void)key;
    ENTER(parent->gpu, "ncclCommSplit %d color %d", parent->rank, color);
    *made = NULL;
    splits[splitting_count++] = (splitting){parent, color, made};
    char name[PATH];
    snprintf(name, sizeof name, "split-0-%d", parent->rank);
    touch(parent->world, name, &color, sizeof color);
    return IN_PROGRESS;
}
#endif

int ncclCommGetAsyncError(comm *world, int *state) {
    int failure = double_failure("async", world->gpu);
    *state = SUCCESS;
    if (world->blocking) return SUCCESS;
    if (failure && world->asked++ >= (int)double_number("async_after", -1, 0)) {
        *state = failure;
        return SUCCESS;
    }
    try_splits(world);
    if (!all_there(world, "here", 0)) *state = IN_PROGRESS;
    if (world->finalized && world->finalized++ < 3) *state = IN_PROGRESS;
    return SUCCESS;
}

int ncclGroupStart(void) {
    depth++;
    return SUCCESS;
}

int ncclGroupEnd(void) {
    if (--depth) return SUCCESS;
    int failure = double_failure(__func__, -1);
    if (failure) return queues = 0, failure;
    return carry_out();
}

int ncclAllReduce(uint64_t send, uint64_t receive, size_t words, int type, int reduction, comm *world, void *stream) {
    ENTER(world->gpu, "ncclAllReduce rank %d of %d %zu", world->rank, world->ranks, words);
    if (!depth || type != INT32 || (reduction != SUM && reduction != LEAST)) return INVALID_ARGUMENT;
    operation *one = calloc(1, sizeof *one);
    *one = (operation){world, send, receive, words, reduction == LEAST, world->operations++, stream, 0};
    queued[queues++] = one;
    return SUCCESS;
}

int ncclCommFinalize(comm *world) {
    ENTER(world->gpu, "ncclCommFinalize %d", world->rank);
    world->finalized = 1;
    return IN_PROGRESS;
}

int ncclCommDestroy(comm *gone) {
    ENTER(gone->gpu, "ncclCommDestroy %d", gone->rank);
    return SUCCESS;
}

int ncclCommAbort(comm *gone) {
    ENTER(gone->gpu, "ncclCommAbort %d", gone->rank);
    gone->aborted = 1;
    return SUCCESS;
}
