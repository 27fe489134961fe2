#include "request.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "protocol/clock.h"
#include "version.h"

void request_init(struct request *request, const struct conf *conf, const char *session,
                  int64_t now_ns)
{
    memset(request, 0, sizeof(*request));
    request->conf = conf;
    request->session = session;
    request->started_ns = now_ns;
    hist_init(&request->latency);
}

static void copy_text(char *to, size_t size, const struct event *ev)
{
    size_t n = ev->data_size < size - 1 ? ev->data_size : size - 1;
    if (n > 0)
        memcpy(to, ev->data, n);
    to[n] = '\0';
}

static void tell_trial(struct request *request, const struct event *ev)
{
    const float *observed = ev->data, *predicted = observed + ev->trial.n_units;
    uint32_t first = 0, end = ev->trial.n_units, n = 0;

    request->trial = *ev;
    request->trial.data = NULL;
    request->observed = request->predicted = 0;
    if (ev->trial.unit < end) {
        first = ev->trial.unit;
        end = first + 1;
    }
    for (uint32_t u = first; u < end; u++) {
        if (isnan(observed[u]))
            continue;
        request->observed += (double)observed[u];
        request->predicted += (double)predicted[u];
        n++;
    }
    if (n > 0) {
        request->observed /= n;
        request->predicted /= n;
    }
    if (ev->trial.latency_ns != CLOCK_UNKNOWN)
        hist_add(&request->latency, ev->trial.latency_ns);
}

void request_tell(struct request *request, const struct event *ev)
{
    switch (ev->type) {
    case EVENT_STATUS:
        memcpy(request->counters, ev->data,
               ev->data_size < sizeof(request->counters) ? ev->data_size
                                                         : sizeof(request->counters));
        request->state = ev->status.state;
        break;
    case EVENT_STATE:
        request->state = ev->state.state;
        copy_text(request->why, sizeof(request->why), ev);
        break;
    case EVENT_TRIAL:
        tell_trial(request, ev);
        break;
    case EVENT_MODEL:
        request->model = *ev;
        break;
    case EVENT_DISPLAY:
        request->display = *ev;
        request->display.data = NULL;
        copy_text(request->driver, sizeof(request->driver), ev);
        break;
    default:
        break;
    }
}

static json_t *error_reply(const char *what)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", what);
}

static json_t *counters_json(const struct request *request)
{
    json_t *all = json_object(), *invalid = json_object(), *refused = json_object();

    for (unsigned i = 0; i < COUNTER_PER_NAME; i++)
        json_object_set_new(all, counter_name(i),
                            json_integer((json_int_t)request->counters[i]));
    for (unsigned i = 1; i < VERDICT_END; i++)
        json_object_set_new(
            invalid, verdict_name(i),
            json_integer((json_int_t)request->counters[COUNTER_VERDICT + i]));
    for (unsigned i = 1; i < REJECT_END; i++)
        json_object_set_new(
            refused, reject_name(i),
            json_integer((json_int_t)request->counters[COUNTER_REJECT + i]));
    json_object_set_new(all, "invalid", invalid);
    json_object_set_new(all, "refused", refused);
    return all;
}

static json_t *latency_json(const struct hist *hist)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "n", (json_int_t)hist->n, "p50_ns",
                     (json_int_t)hist_quantile_ns(hist, 0.5), "p99_ns",
                     (json_int_t)hist_quantile_ns(hist, 0.99), "max_ns",
                     (json_int_t)hist->max_ns);
}

static json_t *status_reply(const struct request *request, int64_t now_ns)
{
    const struct conf *conf = request->conf;
    const struct event *trial = &request->trial;
    int64_t of = conf->learn.trials + conf->mei.trials;
    json_t *reply = json_pack(
        "{s:b, s:i, s:s, s:s, s:s, s:f, s:s, s:I, s:o, s:o}", "ok", 1, "pid",
        (int)getpid(), "version", EVOKE_VERSION, "state", state_name(request->state),
        "why", request->why, "seconds", (double)(now_ns - request->started_ns) / 1e9,
        "session", request->session, "trials_planned",
        (json_int_t)(conf->trial.external ? 0 : of), "counters", counters_json(request),
        "latency", latency_json(&request->latency));

    json_object_set_new(
        reply, "shape",
        json_pack("{s:I, s:i, s:i, s:i, s:b}", "units", (json_int_t)conf->ingest.units,
                  "frames", conf->stimulus.frames, "height", conf->stimulus.height,
                  "width", conf->stimulus.width, "external", conf->trial.external));
    json_object_set_new(reply, "learned",
                        json_integer((json_int_t)request->model.model.n_trials));
    if (request->display.type == EVENT_DISPLAY)
        json_object_set_new(
            reply, "display",
            json_pack("{s:s, s:i, s:i, s:f, s:s}", "driver", request->driver, "width_px",
                      (int)request->display.display.width_px, "height_px",
                      (int)request->display.display.height_px, "refresh_hz",
                      request->display.display.refresh_hz, "quality",
                      quality_name(request->display.display.quality)));
    if (trial->type == EVENT_TRIAL)
        json_object_set_new(reply, "trial",
                            json_pack("{s:I, s:s, s:s, s:f, s:f}", "number",
                                      (json_int_t)trial->trial.trial, "verdict",
                                      verdict_name(trial->trial.verdict), "kind",
                                      job_name(trial->trial.kind), "observed",
                                      request->observed, "predicted",
                                      request->predicted));
    return reply;
}

/* A command for the loop; its text, if any, in note. */
static json_t *command_reply(const char *what, json_t *asked, struct event *command,
                             char *note)
{
    const char *text = json_string_value(json_object_get(asked, "text"));
    unsigned i = COMMAND_PAUSE;

    while (i <= COMMAND_NOTE && strcmp(command_name(i), what) != 0)
        i++;
    if (i > COMMAND_NOTE)
        return error_reply("\"do\" must be status, pause, resume, stop or note");
    if (i == COMMAND_NOTE && (!text || strlen(text) >= CONF_TEXT))
        return error_reply("note needs \"text\" of at most 255 bytes");
    command->type = EVENT_COMMAND;
    command->command.command = i;
    if (i == COMMAND_NOTE) {
        strcpy(note, text);
        command->data = note;
        command->data_size = command->command.n_text = (uint32_t)strlen(note);
    }
    return json_pack("{s:b}", "ok", 1);
}

char *request_answer(const struct request *request, const char *text, size_t size,
                     int64_t now_ns, struct event *command, char *note)
{
    json_t *asked = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *reply;
    const char *what = json_string_value(json_object_get(asked, "do"));
    char *answer;

    memset(command, 0, sizeof(*command));
    command->time_ns = now_ns;
    if (!what)
        reply = error_reply("a request is a JSON object with \"do\"");
    else if (strcmp(what, "status") == 0)
        reply = status_reply(request, now_ns);
    else
        reply = command_reply(what, asked, command, note);
    if (!reply) /* JSON is UTF-8; a path need not be */
        reply = error_reply("the session's path or what is told of it is not UTF-8");
    answer = json_dumps(reply, JSON_COMPACT);
    json_decref(reply);
    json_decref(asked);
    return answer;
}
