/* Copies between host and devices, and fills.
 *
 * STANDIN_CUDA_SKIP_COPIES is a number of bytes. Copies to a device and fills of at least this size are logged but not
 * made, so that gigabytes of weights load in seconds and take no memory. Copies to the host are always made.
 */
#include "../standin.h"

#include <string.h>

/* Values of cudaMemcpyKind. */
enum { HOST_TO_HOST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, BY_ADDRESS };

static const char *const NAMES[] = {"h2h", "h2d", "d2h", "d2d"};

static uint64_t skipped_from(void) {
    return standin_setting("STANDIN_CUDA_SKIP_COPIES", UINT64_MAX);
}

static int kind_of(const void *to, const void *from) {
    return (standin_owner(from) >= 0 ? DEVICE_TO_HOST : 0) + (standin_owner(to) >= 0 ? HOST_TO_DEVICE : 0);
}

void standin_perform(const struct standin_step *step) {
    switch (step->kind) {
    case STANDIN_COPY:
        if (step->bytes < skipped_from() || standin_owner(step->to) < 0)
            memmove(standin_view(step->to), standin_view(step->from), step->bytes);
        break;
    case STANDIN_FILL:
        if (step->bytes < skipped_from())
            memset(standin_view(step->to), step->value, step->bytes);
        break;
    case STANDIN_CALL:
        step->function((void *)step->from);
        break;
    }
}

static void run(cudaStream_t stream, const struct standin_step *step, const char *event, const char *direction,
                const char *call) {
    bool captured = standin_capture_step(stream, step);
    int device = standin_owner(step->to) >= 0 ? standin_owner(step->to) : standin_stream_device(stream);
    standin_log("%s device=%d stream=%d captured=%d direction=%s bytes=%zu call=%s", event, device,
                standin_stream_number(stream), captured, direction, step->bytes, call);
    if (!captured)
        standin_perform(step);
}

static cudaError_t copy(void *to, const void *from, size_t bytes, int kind, cudaStream_t stream, const char *call) {
    /* A card would read the memory of the wrong side, host or device. */
    if (kind != BY_ADDRESS && kind != kind_of(to, from))
        return standin_error(cudaErrorInvalidValue, call);
    struct standin_step step = {.kind = STANDIN_COPY, .to = to, .from = from, .bytes = bytes};
    run(stream, &step, "copy", NAMES[kind_of(to, from)], call);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, int kind) {
    cudaError_t error = standin_forbid_in_any_capture("cudaMemcpy");
    return error ? error : copy(to, from, bytes, kind, NULL, "cudaMemcpy");
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, cudaStream_t stream) {
    return copy(to, from, bytes, kind, stream, "cudaMemcpyAsync");
}

/* Writes a single line to the log for all rows. */
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              int kind, cudaStream_t stream) {
    const char *call = "cudaMemcpy2DAsync";
    if (kind != BY_ADDRESS && kind != kind_of(to, from))
        return standin_error(cudaErrorInvalidValue, call);
    bool captured = false;
    for (size_t row = 0; row < height; row++) {
        struct standin_step step = {
            .kind = STANDIN_COPY,
            .to = (char *)to + row * to_pitch,
            .from = (const char *)from + row * from_pitch,
            .bytes = width,
        };
        captured = standin_capture_step(stream, &step);
        if (!captured)
            standin_perform(&step);
    }
    standin_log("copy device=%d stream=%d captured=%d direction=%s bytes=%zu call=%s", standin_stream_device(stream),
                standin_stream_number(stream), captured, NAMES[kind_of(to, from)], width * height, call);
    return cudaSuccess;
}

/* Variables of device code are not stored, because no kernel would write them. */
cudaError_t cudaMemcpyFromSymbol(void *to, const void *, size_t bytes, size_t, int) {
    memset(standin_view(to), 0, bytes);
    return cudaSuccess;
}

static cudaError_t fill(void *to, int value, size_t bytes, cudaStream_t stream, const char *call) {
    if (standin_owner(to) < 0)
        return standin_error(cudaErrorInvalidValue, call);
    struct standin_step step = {.kind = STANDIN_FILL, .to = to, .value = value, .bytes = bytes};
    run(stream, &step, "fill", "d2d", call);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    return fill(to, value, bytes, NULL, "cudaMemset");
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    return fill(to, value, bytes, stream, "cudaMemsetAsync");
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void *), void *argument) {
    struct standin_step step = {.kind = STANDIN_CALL, .function = function, .from = argument};
    if (!standin_capture_step(stream, &step))
        standin_perform(&step);
    return cudaSuccess;
}
