/* Captured graphs: while a stream captures, its work is recorded and runs when the graph is launched.
 *
 * Streams that join a capture through events do not: the provider captures one stream.
 */
#include "streams.h"

#include <pthread.h>
#include <stdlib.h>

enum { MODE_GLOBAL, MODE_THREAD_LOCAL, MODE_RELAXED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The only stream that captures, and whether this thread began the capture. */
static cudaStream_t capturing;
static _Thread_local bool by_this_thread;

static void log_capture(cudaStream_t stream, const char *state) {
    struct standin_graph *graph = stream->graph;
    standin_log("capture device=%d stream=%d state=%s kernels=%u products=%u copies=%u", stream->device, stream->number,
                state, graph->kernels, graph->products, graph->copies);
}

/* An invalid call ends the capture. cudaStreamEndCapture reports it again. */
static cudaError_t invalidate(cudaStream_t stream, const char *call) {
    if (stream->status == CAPTURE_ACTIVE)
        log_capture(stream, "invalid");
    stream->status = CAPTURE_INVALID;
    return standin_error(cudaErrorStreamCaptureUnsupported, call);
}

cudaError_t standin_forbid_in_capture(cudaStream_t stream, const char *call) {
    bool captures = !standin_is_default(stream) && stream->status != CAPTURE_NONE;
    return captures ? invalidate(stream, call) : cudaSuccess;
}

cudaError_t standin_forbid_in_any_capture(const char *call) {
    pthread_mutex_lock(&lock);
    cudaStream_t stream = capturing;
    bool forbidden = stream && (stream->mode == MODE_GLOBAL || (stream->mode == MODE_THREAD_LOCAL && by_this_thread));
    cudaError_t error = forbidden ? invalidate(stream, call) : cudaSuccess;
    pthread_mutex_unlock(&lock);
    return error;
}

bool standin_capture_launch(cudaStream_t stream, bool product) {
    if (standin_is_default(stream) || stream->status == CAPTURE_NONE)
        return false;
    *(product ? &stream->graph->products : &stream->graph->kernels) += 1;
    return true;
}

bool standin_capture_step(cudaStream_t stream, const struct standin_step *step) {
    if (standin_is_default(stream) || stream->status == CAPTURE_NONE)
        return false;
    struct standin_graph *graph = stream->graph;
    graph->copies += step->kind == STANDIN_COPY;
    *graph->last = malloc(sizeof *step);
    **graph->last = *step;
    (*graph->last)->next = NULL;
    graph->last = &(*graph->last)->next;
    return true;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int mode) {
    if (standin_is_default(stream))
        return standin_error(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture");
    pthread_mutex_lock(&lock);
    if (capturing) {
        pthread_mutex_unlock(&lock);
        return standin_error(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture");
    }
    stream->status = CAPTURE_ACTIVE;
    stream->mode = mode;
    stream->graph = calloc(1, sizeof *stream->graph);
    stream->graph->last = &stream->graph->first;
    capturing = stream;
    by_this_thread = true;
    log_capture(stream, "begin");
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    if (standin_is_default(stream) || stream->status == CAPTURE_NONE)
        return standin_error(cudaErrorInvalidValue, "cudaStreamEndCapture");
    pthread_mutex_lock(&lock);
    bool valid = stream->status == CAPTURE_ACTIVE;
    if (valid)
        log_capture(stream, "end");
    *graph = valid ? stream->graph : NULL;
    stream->status = CAPTURE_NONE;
    capturing = NULL;
    by_this_thread = false;
    pthread_mutex_unlock(&lock);
    return valid ? cudaSuccess : standin_error(cudaErrorStreamCaptureInvalidated, "cudaStreamEndCapture");
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, int *status) {
    *status = standin_is_default(stream) ? CAPTURE_NONE : stream->status;
    return cudaSuccess;
}

/* An executable graph is the same object as its graph. Neither is freed, because the other one would lose its steps. */
cudaError_t cudaGraphInstantiate(cudaGraph_t *executable, cudaGraph_t graph, unsigned long long) {
    if (!graph)
        return standin_error(cudaErrorInvalidValue, "cudaGraphInstantiate");
    *executable = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraph_t graph, cudaStream_t stream) {
    standin_log("graph_launch device=%d stream=%d kernels=%u products=%u copies=%u", standin_stream_device(stream),
                standin_stream_number(stream), graph->kernels, graph->products, graph->copies);
    for (const struct standin_step *step = graph->first; step; step = step->next)
        standin_perform(step);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t) {
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraph_t) {
    return cudaSuccess;
}
