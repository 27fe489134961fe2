/* evoke model: trained networks as files: what is in them, and whether all is understood. */
#include <stdlib.h>
#include <string.h>

#include "models/twin.h"
#include "tool.h"

static const char help[] =
    "Usage: evoke model import FILE.safetensors [--config CONFIG.json] [--key SESSION]\n"
    "                          [-o MODEL.safetensors]\n"
    "       evoke model show FILE.safetensors [--config CONFIG.json] [--key SESSION]\n\n"
    "import reads a network that was trained in PyTorch (neuralpredictors; the names of\n"
    "its state_dict unchanged), checks every tensor, and says what it understood, or "
    "which\n"
    "tensor it did not. With -o it writes the same tensors with the configuration "
    "inside,\n"
    "one file that evoke and PyTorch both read.\n"
    "show prints architecture, parameters and receptive field.\n\n"
    "  --config FILE  constructor arguments (default: config.json beside the model)\n"
    "  --key SESSION  whose readout, where there are several\n\n"
    "Example: evoke model import sensorium/model.safetensors -o v1.safetensors\n";

struct request {
    const char *file, *config, *key, *out;
    int import;
};

static int understand(int argc, char **argv, struct request *request)
{
    *request = (struct request){0};
    if (argc < 2 || (strcmp(argv[1], "import") != 0 && strcmp(argv[1], "show") != 0))
        return tool_fail(TOOL_USAGE, "model", "needs import or show; see --help");
    request->import = strcmp(argv[1], "import") == 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            request->config = argv[++i];
        else if (strcmp(argv[i], "--key") == 0 && i + 1 < argc)
            request->key = argv[++i];
        else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc && request->import)
            request->out = argv[++i];
        else if (argv[i][0] != '-' && !request->file)
            request->file = argv[i];
        else
            return tool_fail(TOOL_USAGE, "model", "'%s' is not understood; see --help",
                             argv[i]);
    }
    if (!request->file)
        return tool_fail(TOOL_USAGE, "model", "needs a file; see --help");
    return TOOL_DONE;
}

int tool_model(int argc, char **argv)
{
    struct request request;
    char why[512], text[8192];
    int result, error = 0;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    result = understand(argc, argv, &request);
    if (result != TOOL_DONE)
        return result;
    struct twin *twin =
        twin_open(request.file, request.config, request.key, why, sizeof(why));
    if (!twin)
        return tool_fail(TOOL_FAILED, "model", "%s: %s", request.file, why);
    twin_describe(twin, text, sizeof(text));
    fputs(text, stdout);
    if (request.out)
        error = twin_save(twin, request.out);
    else if (request.import)
        printf("every tensor is understood\n");
    twin_close(twin);
    if (error)
        return tool_fail(TOOL_FAILED, "model", "%s: %s", request.out, strerror(-error));
    if (request.out)
        printf("%s: written\n", request.out);
    return TOOL_DONE;
}
