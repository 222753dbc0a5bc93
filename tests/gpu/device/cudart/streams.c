/* Streams and events. All work is done at once, in the order of the calls, so synchronisation only writes a line. */
#include "streams.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_int last_number;

/* An event stores the stream that recorded it, to detect a wait that joins streams of two devices. */
struct event {
    cudaStream_t stream;
};

int standin_stream_number(cudaStream_t stream) {
    return standin_is_default(stream) ? 0 : stream->number;
}

int standin_stream_device(cudaStream_t stream) {
    return standin_is_default(stream) ? standin_device() : stream->device;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = calloc(1, sizeof **stream);
    (*stream)->number = ++last_number;
    (*stream)->device = standin_device();
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    free(stream);
    return cudaSuccess;
}

static cudaError_t synchronize(cudaStream_t stream, const char *what) {
    standin_log("synchronize device=%d stream=%d what=%s", standin_stream_device(stream), standin_stream_number(stream),
                what);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    cudaError_t error = standin_forbid_in_capture(stream, "cudaStreamSynchronize");
    return error ? error : synchronize(stream, "stream");
}

cudaError_t cudaDeviceSynchronize(void) {
    cudaError_t error = standin_forbid_in_any_capture("cudaDeviceSynchronize");
    return error ? error : synchronize(NULL, "device");
}

cudaError_t cudaEventSynchronize(struct event *event) {
    cudaError_t error = standin_forbid_in_capture(event->stream, "cudaEventSynchronize");
    return error ? error : synchronize(event->stream, "event");
}

cudaError_t cudaEventCreateWithFlags(struct event **event, unsigned) {
    *event = calloc(1, sizeof **event);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(struct event **event) {
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(struct event *event) {
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(struct event *event, cudaStream_t stream, unsigned) {
    event->stream = stream;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(struct event *event, cudaStream_t stream) {
    return cudaEventRecordWithFlags(event, stream, 0);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, struct event *, unsigned) {
    return cudaSuccess;
}

/* Milliseconds. Not zero, because the provider divides by it when it compares algorithms. */
cudaError_t cudaEventElapsedTime(float *milliseconds, struct event *, struct event *) {
    *milliseconds = 1;
    return cudaSuccess;
}
