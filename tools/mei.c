/* evoke mei: the most exciting input of a unit, from the model as the session left it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "final_model.h"
#include "models/npy.h"
#include "picture.h"
#include "tool.h"

#define SIDE 512 /* pixels of the picture's longer side, about */

static const char help[] =
    "Usage: evoke mei SESSION --unit K -o FILE.png\n\n"
    "Makes the most exciting input of unit K (from 0) from the model at the end of the\n"
    "session, and writes it as a picture, enlarged, grey where it is the mean; and "
    "beside\n"
    "it FILE.npy: its contrast, (height, width) of f4.\n\n"
    "Example: evoke mei sessions/demo-20260102-101500.evoke --unit 3 -o unit3.png\n";

struct request {
    const char *session, *file;
    long unit; /* -1: not said */
};

/* A whole number from 0, else -1. */
static long unit_of(const char *text)
{
    char *end;
    long unit;

    errno = 0;
    unit = strtol(text, &end, 10);
    return end == text || *end || errno || unit < 0 ? -1 : unit;
}

static int understand(int argc, char **argv, struct request *request)
{
    *request = (struct request){NULL, NULL, -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            request->file = argv[++i];
        else if (strcmp(argv[i], "--unit") == 0 && i + 1 < argc) {
            request->unit = unit_of(argv[++i]);
            if (request->unit < 0)
                return tool_fail(TOOL_USAGE, "mei",
                                 "--unit %s: must be a whole number from 0", argv[i]);
        } else if (argv[i][0] != '-' && !request->session)
            request->session = argv[i];
        else
            return tool_fail(
                TOOL_USAGE, "mei",
                "'%s' is one too many or not understood; give one session, see --help",
                argv[i]);
    }
    if (!request->session || !request->file || request->unit < 0)
        return tool_fail(TOOL_USAGE, "mei",
                         "needs a session, --unit K and -o FILE.png; see --help");
    return TOOL_DONE;
}

/* Picture and array; 0 or -errno. */
static int write_both(const char *file, const float *x, int height, int width)
{
    size_t n = (size_t)height * (size_t)width, stem = strlen(file);
    const size_t shape[] = {(size_t)height, (size_t)width};
    uint8_t *levels = malloc(n);
    char *array = malloc(stem + sizeof(".npy"));
    int error = levels && array ? 0 : -ENOMEM;

    if (!error) {
        if (stem > 4 && strcmp(file + stem - 4, ".png") == 0)
            stem -= 4;
        memcpy(array, file, stem);
        strcpy(array + stem, ".npy");
        picture_levels(x, n, levels);
        error = picture_write(file, levels, height, width,
                              picture_scale(height, width, SIDE));
    }
    if (!error)
        error = npy_write(array, NPY_F4, 2, shape, x);
    free(levels);
    free(array);
    return error;
}

static int make(const struct request *request, struct final_model *final,
                const struct conf *conf)
{
    int height = conf->stimulus.height, width = conf->stimulus.width, error;
    float *x = malloc((size_t)height * (size_t)width * sizeof(float));
    char text[512] = "not enough memory";
    double rate;

    error =
        x ? final_model_mei(final, (uint32_t)request->unit, x, &rate, text, sizeof(text))
          : -ENOMEM;
    if (error) {
        free(x);
        return tool_fail(TOOL_FAILED, "mei", "%s: %s", request->session, text);
    }
    error = write_both(request->file, x, height, width);
    free(x);
    if (error)
        return tool_fail(TOOL_FAILED, "mei", "%s: %s", request->file, strerror(-error));
    printf("%s: unit %ld, %.3g spikes expected\n", request->file, request->unit, rate);
    return TOOL_DONE;
}

static int make_from(const struct request *request, struct session *session)
{
    const char *config = session_meta(session, "config");
    struct final_model *final;
    struct conf conf;
    char text[512] = "it holds no configuration";
    int result;

    if (!config || conf_read_text(&conf, config, "its configuration", text, sizeof(text)))
        return tool_fail(TOOL_FAILED, "mei", "%s: %s", request->session, text);
    if (request->unit >= conf.ingest.units)
        return tool_fail(TOOL_FAILED, "mei", "%s has units 0 to %lld, not %ld",
                         request->session, (long long)conf.ingest.units - 1,
                         request->unit);
    if (final_model_open(&final, session, &conf, text, sizeof(text)) != 0)
        return tool_fail(TOOL_FAILED, "mei", "%s: %s", request->session, text);
    result = make(request, final, &conf);
    final_model_close(final);
    return result;
}

int tool_mei(int argc, char **argv)
{
    struct request request;
    struct session *session;
    char text[512] = "";
    int result;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    result = understand(argc, argv, &request);
    if (result != TOOL_DONE)
        return result;
    if (session_open(&session, request.session, text, sizeof(text)) != 0)
        return tool_fail(TOOL_FAILED, "mei", "%s", text);
    result = make_from(&request, session);
    session_close(session);
    return result;
}
