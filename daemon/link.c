#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "daemon/route.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/wire.h"

#define TICK_NS      (50 * NS_PER_MS)
#define BURST        256 /* messages of one socket between two looks at the others */
#define MAX_FRAMES   3
#define IDENTITY_MAX 256

struct link {
    struct rings *rings;
    void *context, *ingest, *display, *publish;
    char identity[IDENTITY_MAX]; /* of the display that spoke last */
    size_t n_identity;
    int64_t tick_ns; /* when the next is due */
    uint64_t n_lost; /* events that the full ring to the loop refused, not yet told */
};

/* A message in its frames; those past MAX_FRAMES are only counted. */
struct message {
    zmq_msg_t frames[MAX_FRAMES];
    int n;
};

static void *bound(struct link *link, int type, const char *endpoint)
{
    const int linger = 0, most = WIRE_DATA_MAX + (1 << 16), high_water = 100000;
    void *socket = zmq_socket(link->context, type);
    mode_t mask = umask(0007); /* owner and group */

    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &(int64_t){most}, sizeof(int64_t));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &high_water, sizeof(high_water));
    zmq_setsockopt(socket, ZMQ_SNDHWM, &high_water, sizeof(high_water));
    if (type == ZMQ_ROUTER)
        zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &(int){1}, sizeof(int));
    if (zmq_bind(socket, endpoint) != 0) {
        log_line(LOG_ERROR, "%s: cannot bind: %s", endpoint, zmq_strerror(errno));
        zmq_close(socket);
        socket = NULL;
    }
    umask(mask);
    return socket;
}

int link_open(struct link **out, struct rings *rings, const char *ingest,
              const char *display, const char *publish)
{
    struct link *link = calloc(1, sizeof(*link));

    if (!link)
        return -ENOMEM;
    link->rings = rings;
    link->context = zmq_ctx_new();
    link->ingest = bound(link, ZMQ_PULL, ingest);
    link->display = bound(link, ZMQ_ROUTER, display);
    link->publish = bound(link, ZMQ_PUB, publish);
    if (!link->ingest || !link->display || !link->publish) {
        link_close(link);
        return -EADDRINUSE;
    }
    *out = link;
    return 0;
}

void link_close(struct link *link)
{
    if (!link)
        return;
    if (link->ingest)
        zmq_close(link->ingest);
    if (link->display)
        zmq_close(link->display);
    if (link->publish)
        zmq_close(link->publish);
    zmq_ctx_term(link->context);
    free(link);
}

static void push(struct link *link, const struct event *ev)
{
    if (!ring_push(link->rings->wire_loop, ev))
        link->n_lost++;
}

/* 0 when no message waits. */
static int receive(void *socket, struct message *message)
{
    int more = 1;

    message->n = 0;
    while (more) {
        zmq_msg_t extra, *frame = &extra;
        if (message->n < MAX_FRAMES)
            frame = &message->frames[message->n];
        zmq_msg_init(frame);
        if (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(frame);
            return 0; /* only the first frame can be missing: messages are whole */
        }
        more = zmq_msg_more(frame);
        if (frame == &extra)
            zmq_msg_close(&extra);
        message->n++;
    }
    return 1;
}

static void release(struct message *message)
{
    for (int i = 0; i < message->n && i < MAX_FRAMES; i++)
        zmq_msg_close(&message->frames[i]);
}

static size_t frame_size(struct message *message, int i)
{
    return i < message->n && i < MAX_FRAMES ? zmq_msg_size(&message->frames[i]) : 0;
}

static const void *frame_data(struct message *message, int i)
{
    return i < message->n && i < MAX_FRAMES ? zmq_msg_data(&message->frames[i]) : NULL;
}

static int from_rig(unsigned type)
{
    return type == EVENT_COUNTS || type == EVENT_EDGE || type == EVENT_EXTERNAL ||
           type == EVENT_TRUTH;
}

static int from_display(unsigned type)
{
    return type == EVENT_DISPLAY || type == EVENT_SHOWN || type == EVENT_HIDDEN ||
           type == EVENT_BEAT;
}

/* Frames from first on are head and payload of an event: into the loop's ring, or the
 * reason why not. */
static int deliver(struct link *link, struct message *message, int first,
                   int (*allowed)(unsigned type))
{
    struct event ev, told = {.type = EVENT_REJECT, .time_ns = clock_now_ns()};
    enum reject reject =
        wire_decode(frame_data(message, first), frame_size(message, first),
                    frame_data(message, first + 1), frame_size(message, first + 1), &ev);

    if (!reject && message->n > first + 2)
        reject = REJECT_OVERSIZED;
    if (!reject && !allowed(ev.type))
        reject = REJECT_TYPE;
    if (!reject) {
        ev.time_ns = told.time_ns;
        push(link, &ev);
        return 1;
    }
    told.source = ev.source;
    told.reject.reason = reject;
    told.reject.type = ev.type;
    told.reject.size = frame_size(message, first) + frame_size(message, first + 1);
    push(link, &told);
    return 0;
}

static void take_ingest(struct link *link)
{
    struct message message;

    for (int i = 0; i < BURST && receive(link->ingest, &message); i++) {
        deliver(link, &message, 0, from_rig);
        release(&message);
    }
}

static void take_display(struct link *link)
{
    struct message message;

    for (int i = 0; i < BURST && receive(link->display, &message); i++) {
        size_t n = frame_size(&message, 0);
        if (deliver(link, &message, 1, from_display) && n <= IDENTITY_MAX) {
            memcpy(link->identity, frame_data(&message, 0), n);
            link->n_identity = n;
        }
        release(&message);
    }
}

static int send_frames(void *socket, const void *prefix, size_t n_prefix,
                       const struct event *ev)
{
    char head[WIRE_HEAD_MAX];
    size_t n_head = wire_encode(ev, head);
    int more = ev->data_size > 0 ? ZMQ_SNDMORE : 0;

    if (zmq_send(socket, prefix, n_prefix, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return 0;
    zmq_send(socket, head, n_head, ZMQ_DONTWAIT | more);
    if (more)
        zmq_send(socket, ev->data, ev->data_size, ZMQ_DONTWAIT);
    return 1;
}

static void give(struct link *link, const struct event *ev)
{
    unsigned route = route_of(ev->type);

    if ((route & ROUTE_DISPLAY) && link->n_identity > 0 &&
        send_frames(link->display, link->identity, link->n_identity, ev) &&
        ev->type == EVENT_PRESENT) {
        struct event sent = {.type = EVENT_SENT, .time_ns = clock_now_ns()};
        sent.sent.trial = ev->present.trial;
        sent.sent.cause_ns = ev->present.cause_ns;
        push(link, &sent);
    }
    if (route & ROUTE_PUBLISH) {
        const char *topic = event_name(ev->type);
        send_frames(link->publish, topic, strlen(topic), ev);
    }
}

static void take_loop(struct link *link)
{
    const struct event *ev;

    for (int i = 0; i < BURST && (ev = ring_peek(link->rings->loop_wire)); i++) {
        give(link, ev);
        ring_drop(link->rings->loop_wire);
    }
}

static void tick(struct link *link, int64_t now_ns)
{
    struct event ev = {.type = EVENT_TICK, .time_ns = now_ns};

    if (link->n_lost > 0) {
        struct event lost = {.type = EVENT_LOST, .time_ns = now_ns};
        lost.lost.ring = RING_WIRE_LOOP;
        lost.lost.n_lost = link->n_lost;
        if (ring_push(link->rings->wire_loop, &lost))
            link->n_lost = 0;
    }
    if (now_ns < link->tick_ns)
        return;
    push(link, &ev);
    link->tick_ns = now_ns + TICK_NS;
    atomic_fetch_add_explicit(&link->rings->ticks_wire, 1, memory_order_relaxed);
}

void *link_run(void *arg)
{
    struct link *link = arg;
    struct wake *wake = &link->rings->wire_wake;
    zmq_pollitem_t items[3] = {{link->ingest, 0, ZMQ_POLLIN, 0},
                               {link->display, 0, ZMQ_POLLIN, 0},
                               {NULL, wake->fd, ZMQ_POLLIN, 0}};

    while (!atomic_load(&link->rings->stop)) {
        int64_t wait_ns = link->tick_ns - clock_now_ns();
        int news = wake_before_poll(wake);
        long wait_ms = news || wait_ns < 0 ? 0 : (long)(wait_ns / NS_PER_MS) + 1;
        zmq_poll(items, 3, ring_peek(link->rings->loop_wire) ? 0 : wait_ms);
        wake_after_poll(wake);
        take_loop(link); /* first: a stimulus may wait in it */
        take_display(link);
        take_ingest(link);
        tick(link, clock_now_ns());
    }
    take_loop(link); /* the last words of the loop */
    return NULL;
}
