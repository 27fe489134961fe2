#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "protocol/wire.h"

#define N_FRAMES 3 /* topic, head, payload */

struct client {
    void *context, *follow, *ingest;
    zmq_msg_t frames[N_FRAMES];
};

static void *connected(void *context, int type, const char *endpoint)
{
    const int linger = 200, high_water = 100000;
    void *socket = zmq_socket(context, type);

    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(socket, ZMQ_SNDHWM, &high_water, sizeof(high_water));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &high_water, sizeof(high_water));
    if (type == ZMQ_SUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    if (zmq_connect(socket, endpoint) != 0) {
        zmq_close(socket);
        return NULL;
    }
    return socket;
}

struct client *client_open(const char *ingest)
{
    struct client *client = calloc(1, sizeof(*client));
    char endpoint[300];

    if (!client)
        return NULL;
    for (int i = 0; i < N_FRAMES; i++)
        zmq_msg_init(&client->frames[i]);
    client->context = zmq_ctx_new();
    conf_endpoint("publish", endpoint, sizeof(endpoint));
    client->follow = connected(client->context, ZMQ_SUB, endpoint);
    conf_endpoint("ingest", endpoint, sizeof(endpoint));
    if (ingest)
        client->ingest =
            connected(client->context, ZMQ_PUSH, ingest[0] ? ingest : endpoint);
    if (!client->follow || (ingest && !client->ingest)) {
        client_close(client);
        return NULL;
    }
    return client;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    for (int i = 0; i < N_FRAMES; i++)
        zmq_msg_close(&client->frames[i]);
    if (client->follow)
        zmq_close(client->follow);
    if (client->ingest)
        zmq_close(client->ingest);
    zmq_ctx_term(client->context);
    free(client);
}

void client_wait(struct client *client, int timeout_ms)
{
    zmq_pollitem_t item = {client->follow, 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, timeout_ms);
}

/* One message into the frames: how many it had, 0 if there is none. */
static int receive(struct client *client)
{
    int n = 0, more = 1;

    for (int i = 0; i < N_FRAMES; i++) {
        zmq_msg_close(&client->frames[i]);
        zmq_msg_init(&client->frames[i]);
    }
    while (more) {
        zmq_msg_t *frame = &client->frames[n < N_FRAMES ? n : N_FRAMES - 1];
        if (zmq_msg_recv(frame, client->follow, ZMQ_DONTWAIT) < 0)
            return 0;
        more = zmq_msg_more(frame);
        n++;
    }
    return n;
}

int client_next(struct client *client, struct event *ev)
{
    zmq_msg_t *frames = client->frames;
    int n;

    while ((n = receive(client)) > 0)
        if (n <= N_FRAMES &&
            wire_decode(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]),
                        zmq_msg_data(&frames[2]), zmq_msg_size(&frames[2]),
                        ev) == REJECT_NONE)
            return 1;
    return 0;
}

int client_send(struct client *client, const struct event *ev)
{
    char head[WIRE_HEAD_MAX];
    size_t n_head = wire_encode(ev, head);
    int more = ev->data_size > 0 ? ZMQ_SNDMORE : 0;

    if (zmq_send(client->ingest, head, n_head, ZMQ_DONTWAIT | more) < 0)
        return 0;
    return !more || zmq_send(client->ingest, ev->data, ev->data_size, ZMQ_DONTWAIT) >= 0;
}

char *client_ask(const char *request, int timeout_ms)
{
    void *context = zmq_ctx_new(), *socket;
    char endpoint[300], *reply = NULL;
    const int linger = 0;
    zmq_msg_t message;

    conf_endpoint("control", endpoint, sizeof(endpoint));
    socket = connected(context, ZMQ_REQ, endpoint);
    zmq_msg_init(&message);
    if (socket) {
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
        zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
        zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof(timeout_ms));
        if (zmq_send(socket, request, strlen(request), 0) >= 0 &&
            zmq_msg_recv(&message, socket, 0) >= 0)
            reply = strndup(zmq_msg_data(&message), zmq_msg_size(&message));
        zmq_close(socket);
    }
    zmq_msg_close(&message);
    zmq_ctx_term(context);
    return reply;
}
