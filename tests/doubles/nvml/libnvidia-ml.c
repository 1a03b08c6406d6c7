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
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9,
       FUNCTION_NOT_FOUND = 13 };
enum { LINE = 512, KEY = 128 };
enum { FIELD_LINK_COUNT = 91, FIELD_RECOVERY_ACTION = 230, TYPE_UNSIGNED_INT = 1 };

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
    unsigned fieldId, scopeId;
    int64_t timestamp, latencyUsec;
    unsigned valueType;
    nvmlReturn nvmlReturn;
    union { double d; unsigned ui; unsigned long ul; unsigned long long ull; } value;
} fieldValue;

/* Copies what follows `key` on its last line into `value`; returns whether there is such a line. */
static int look(const char *key, char value[LINE]) {
    const char *path = getenv("NVML_DOUBLE_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[LINE];
    size_t length = strlen(key);
    int found = 0;
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, key, length) || (line[length] && line[length] != ' ')) continue;
        snprintf(value, LINE, "%s", line[length] ? line + length + 1 : "");
        found = 1;
    }
    fclose(file);
    return found;
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

nvmlReturn nvmlDeviceGetFieldValues(device *gpu, int count, fieldValue *values) {
    char value[LINE];
    INTERFERE(gpu);
    for (int i = 0; i < count; i++) {
        int found = 0;
        unsigned number = 0;
        if (values[i].fieldId == FIELD_RECOVERY_ACTION && (found = look_gpu(gpu, "recovery", value)))
            number = (unsigned)atoi(value);
        if (values[i].fieldId == FIELD_LINK_COUNT && (found = look_gpu(gpu, "links", value)))
            number = (unsigned)strlen(value);
        values[i].nvmlReturn = found ? SUCCESS : NOT_SUPPORTED;
        values[i].valueType = TYPE_UNSIGNED_INT;
        values[i].value.ui = number;
    }
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetMigMode(device *gpu, unsigned *current, unsigned *pending) {
    char value[LINE];
    INTERFERE(gpu);
    if (!look_gpu(gpu, "mig", value)) return NOT_SUPPORTED;
    *current = *pending = (unsigned)atoi(value);
    return SUCCESS;
}

nvmlReturn nvmlDeviceGetNvLinkState(device *gpu, unsigned link, unsigned *active) {
    char value[LINE];
    INTERFERE(gpu);
    if (!look_gpu(gpu, "links", value) || !*value) return NOT_SUPPORTED;
    if (link >= strlen(value)) return INVALID_ARGUMENT;
    *active = (unsigned)(value[link] - '0');
    return SUCCESS;
}
