/* What the doubles of libcuda.so.1 and libnccl.so.2 share. Both answer from the text file that CUDA_DOUBLE_STATE names,
 * read once in each process: lines of `<key> <value>`, or `gpu <index> <key> <value>` for one GPU; the last one counts. Every
 * call that is no mere question is appended to the file that CUDA_DOUBLE_LOG names. */
#ifndef FLEETMEND_DOUBLE_H
#define FLEETMEND_DOUBLE_H
#include <stddef.h>
#include <stdint.h>

/* The value of a key, for a GPU or for all (-1); `otherwise` when nothing is said. */
double double_number(const char *key, int gpu, double otherwise);
/* The whole text behind a key, NULL when nothing is said. */
const char *double_text(const char *key, int gpu);
void double_log(const char *text, ...);
/* The code that `fail <call> <code>` asks for, 0 when it asks for none. */
int double_failure(const char *call, int gpu);

/* A GPU's memory is kept as runs of equal words, so that gibibytes cost nothing. */
void double_write(uint64_t address, uint64_t bytes, uint32_t value);
/* How many bytes from the address on, at most `bytes`, hold the value that is returned with them. */
uint64_t double_run(uint64_t address, uint64_t bytes, uint32_t *value);

int double_current_gpu(void);
void double_spend(void *stream, double seconds);
/* Let nothing behind this point of the stream be reached before `done` says so. */
void double_block(void *stream, int (*done)(void *), void *argument);
#endif
