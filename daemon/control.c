#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "protocol/clock.h"
#include "protocol/log.h"

struct control {
    void *context, *socket;
};

int control_open(struct control **out, const char *endpoint)
{
    struct control *control = calloc(1, sizeof(*control));
    const int64_t most = 1 << 16;
    const int linger = 200; /* the answer to "stop" shall still arrive */
    mode_t mask;
    int bound;

    if (!control)
        return -ENOMEM;
    control->context = zmq_ctx_new();
    control->socket = zmq_socket(control->context, ZMQ_REP);
    zmq_setsockopt(control->socket, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(control->socket, ZMQ_MAXMSGSIZE, &most, sizeof(most));
    mask = umask(0007);
    bound = zmq_bind(control->socket, endpoint);
    umask(mask);
    if (bound != 0) {
        log_line(LOG_ERROR, "%s: cannot bind: %s", endpoint, zmq_strerror(errno));
        control_close(control);
        return -EADDRINUSE;
    }
    *out = control;
    return 0;
}

void control_close(struct control *control)
{
    if (!control)
        return;
    zmq_close(control->socket);
    zmq_ctx_term(control->context);
    free(control);
}

static void answer(struct control *control, struct request *request,
                   struct ring *commands)
{
    char note[CONF_TEXT], *reply;
    struct event command;
    zmq_msg_t message;

    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, control->socket, ZMQ_DONTWAIT) >= 0) {
        /* frames past the first are of no request that there is */
        while (zmq_msg_more(&message)) {
            zmq_msg_close(&message);
            zmq_msg_init(&message);
            zmq_msg_recv(&message, control->socket, ZMQ_DONTWAIT);
        }
        reply = request_answer(request, zmq_msg_data(&message), zmq_msg_size(&message),
                               clock_now_ns(), &command, note);
        if (command.type == EVENT_COMMAND)
            ring_push(commands, &command);
        zmq_send(control->socket, reply, strlen(reply), ZMQ_DONTWAIT);
        free(reply);
    }
    zmq_msg_close(&message);
}

void control_serve(struct control *control, struct request *request,
                   struct ring *commands, int fd, int signal_fd, int timeout_ms)
{
    zmq_pollitem_t items[3] = {{control->socket, 0, ZMQ_POLLIN, 0},
                               {NULL, fd, ZMQ_POLLIN, 0},
                               {NULL, signal_fd, ZMQ_POLLIN, 0}};

    zmq_poll(items, 3, timeout_ms);
    if (items[0].revents & ZMQ_POLLIN)
        answer(control, request, commands);
}
