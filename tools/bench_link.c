#include "tools/bench_link.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "daemon/conf.h"
#include "protocol/clock.h"
#include "protocol/wire.h"

struct bench_display {
    void *context, *socket;
    zmq_msg_t frames[2];
    uint32_t epoch;
    uint64_t seq;
};

static const int no_linger = 0;

struct bench_display *bench_display_open(void)
{
    struct bench_display *display = calloc(1, sizeof(*display));
    char endpoint[300];

    if (!display)
        return NULL;
    conf_endpoint("display", endpoint, sizeof(endpoint));
    display->epoch = (uint32_t)clock_now_ns();
    zmq_msg_init(&display->frames[0]);
    zmq_msg_init(&display->frames[1]);
    display->context = zmq_ctx_new();
    display->socket = zmq_socket(display->context, ZMQ_DEALER);
    zmq_setsockopt(display->socket, ZMQ_LINGER, &no_linger, sizeof(no_linger));
    if (zmq_connect(display->socket, endpoint) != 0) {
        bench_display_close(display);
        return NULL;
    }
    return display;
}

void bench_display_close(struct bench_display *display)
{
    if (!display)
        return;
    zmq_msg_close(&display->frames[0]);
    zmq_msg_close(&display->frames[1]);
    zmq_close(display->socket);
    zmq_ctx_term(display->context);
    free(display);
}

void bench_display_say(struct bench_display *display, struct event *ev)
{
    char head[WIRE_HEAD_MAX];

    ev->epoch = display->epoch;
    ev->seq = display->seq++;
    zmq_send(display->socket, head, wire_encode(ev, head), ZMQ_DONTWAIT);
}

int bench_display_next(struct bench_display *display, struct event *ev, int timeout_ms)
{
    zmq_pollitem_t item = {display->socket, 0, ZMQ_POLLIN, 0};
    zmq_msg_t *frames = display->frames;

    if (zmq_poll(&item, 1, timeout_ms) <= 0)
        return 0;
    zmq_msg_close(&frames[1]);
    zmq_msg_init(&frames[1]);
    zmq_msg_recv(&frames[0], display->socket, 0);
    if (zmq_msg_more(&frames[0]))
        zmq_msg_recv(&frames[1], display->socket, 0);
    return wire_decode(zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]),
                       zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]),
                       ev) == REJECT_NONE;
}

struct bench_echo {
    void *context, *socket;
    void *other_context, *answering; /* as if in another process */
    pthread_t thread;
    size_t size;
    char message[];
};

static void *answer(void *arg)
{
    struct bench_echo *echo = arg;
    zmq_msg_t message;

    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, echo->answering, 0) > 0)
        zmq_msg_send(&message, echo->answering, 0);
    zmq_msg_close(&message);
    return NULL;
}

static void close_echo(struct bench_echo *echo)
{
    zmq_close(echo->socket);
    zmq_close(echo->answering);
    zmq_ctx_term(echo->context);
    zmq_ctx_term(echo->other_context);
    free(echo);
}

struct bench_echo *bench_echo_open(const char *folder, size_t size)
{
    struct bench_echo *echo = calloc(1, sizeof(*echo) + size);
    const int patience_ms = 1000;
    char endpoint[300];

    if (!echo)
        return NULL;
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/echo.sock", folder);
    echo->size = size;
    echo->context = zmq_ctx_new();
    echo->socket = zmq_socket(echo->context, ZMQ_PAIR);
    echo->other_context = zmq_ctx_new();
    echo->answering = zmq_socket(echo->other_context, ZMQ_PAIR);
    zmq_setsockopt(echo->socket, ZMQ_LINGER, &no_linger, sizeof(no_linger));
    zmq_setsockopt(echo->answering, ZMQ_LINGER, &no_linger, sizeof(no_linger));
    zmq_setsockopt(echo->socket, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms));
    if (zmq_bind(echo->answering, endpoint) != 0 ||
        zmq_connect(echo->socket, endpoint) != 0 ||
        pthread_create(&echo->thread, NULL, answer, echo) != 0) {
        close_echo(echo);
        return NULL;
    }
    return echo;
}

void bench_echo_close(struct bench_echo *echo)
{
    if (!echo)
        return;
    zmq_send(echo->socket, "", 0, 0); /* an empty message ends it */
    pthread_join(echo->thread, NULL);
    close_echo(echo);
}

int64_t bench_echo_ns(struct bench_echo *echo)
{
    int64_t start_ns = clock_now_ns();

    if (zmq_send(echo->socket, echo->message, echo->size, 0) < 0 ||
        zmq_recv(echo->socket, echo->message, echo->size, 0) < 0)
        return -1;
    return clock_now_ns() - start_ns;
}
