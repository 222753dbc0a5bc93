/* Declarations that the stand-in libraries share.
 *
 * Together, the libraries are a CUDA device for ONNX Runtime's unmodified CUDA provider. Kernels compute nothing. Everything
 * that host code depends on works: device memory and its limits, copies, errors, streams, captured graphs. Each call
 * that reaches a device writes a line to the log (cudart/log.c).
 *
 * Types and constants have the values of CUDA 13's headers. The headers are not included, because their license forbids
 * copies in this repository, and a machine without a GPU does not have them. Unused parameters have no name, which C
 * allows since C23.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct standin_stream *cudaStream_t;
typedef struct standin_graph *cudaGraph_t;

typedef enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
} cudaError_t;

typedef struct {
    unsigned x, y, z;
} dim3;

/* log.c: writes one line. `format` does not end with a newline. */
__attribute__((format(printf, 1, 2))) void standin_log(const char *format, ...);
/* log.c: reads an unsigned number from the environment. */
uint64_t standin_setting(const char *name, uint64_t otherwise);
/* errors.c: logs an error, stores it for cudaGetLastError, and returns it. */
cudaError_t standin_error(cudaError_t error, const char *call);

/* devices.c */
int standin_device(void);
int standin_devices(void);
/* Bytes of memory that each device has. */
uint64_t standin_memory(void);

/* memory.c: the device that an address belongs to; -1 for the host. */
int standin_owner(const void *address);
/* memory.c: returns an address that the host may read and write. Only copies use it. */
void *standin_view(const void *address);

/* A step of a captured graph. Kernels and matrix multiplications are no steps, because they are only counted. */
struct standin_step {
    enum { STANDIN_COPY, STANDIN_FILL, STANDIN_CALL } kind;
    void *to;
    const void *from;
    size_t bytes;
    int value;
    void (*function)(void *);
    struct standin_step *next;
};

/* Whether a stream is a default one: NULL, or the handles cudaStreamLegacy (1) and cudaStreamPerThread (2). */
static inline bool standin_is_default(cudaStream_t stream) {
    return (uintptr_t)stream <= 2;
}

/* streams.c */
int standin_stream_number(cudaStream_t stream);
int standin_stream_device(cudaStream_t stream);
/* capture.c: adds `step` to the graph that the stream captures; false if it captures none. */
bool standin_capture_step(cudaStream_t stream, const struct standin_step *step);
/* capture.c: rejects a call that CUDA forbids while a graph is captured. */
cudaError_t standin_forbid_in_capture(cudaStream_t stream, const char *call);
/* capture.c: rejects a call that CUDA forbids while any stream of the process captures a graph. */
cudaError_t standin_forbid_in_any_capture(const char *call);
/* copies.c: executes a step without a line in the log. */
void standin_perform(const struct standin_step *step);

/* kernels.c: logs a launch, or rejects it as a card would. */
cudaError_t standin_launch(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream);
/* products.c: logs a matrix multiplication. Types are values of cudaDataType. */
void standin_product(const char *call, cudaStream_t stream, int64_t m, int64_t n, int64_t k, int64_t batch, int type_a,
                     int type_b, int type_c);
/* products.c: logs a routine of a library, whose grid is unknown. */
void standin_routine(const char *call, cudaStream_t stream);
/* capture.c: counts a kernel or matrix multiplication for the stream's graph; false if the stream captures none. */
bool standin_capture_launch(cudaStream_t stream, bool product);

#endif
