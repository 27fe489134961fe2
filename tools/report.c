/* evoke report: the report of a session, as a page and as JSON. */
#include "report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tool.h"

static const char help[] =
    "Usage: evoke report SESSION [-o DIR]\n\n"
    "Writes DIR/report.html (one file, opens from disk) and DIR/report.json (the same\n"
    "numbers, all units). DIR is made if it is not there; without -o it is the current\n"
    "folder. Works on a session that still runs, or that was interrupted.\n\n"
    "Example: evoke report sessions/demo-20260102-101500.evoke -o report\n";

static int make(struct session *session, const char *path, const char *folder)
{
    struct report report;
    char page[4096], numbers[4096], text[512] = "";
    int error = report_read(&report, session, path, text, sizeof(text));

    if (error) {
        report_close(&report);
        return tool_fail(TOOL_FAILED, "report", "%s: %s", path, text);
    }
    report_score(&report);
    report_curves(&report);
    report_model(&report, session);
    snprintf(page, sizeof(page), "%s/report.html", folder);
    snprintf(numbers, sizeof(numbers), "%s/report.json", folder);
    error = mkdir(folder, 0777) != 0 && errno != EEXIST ? -errno : 0;
    if (!error)
        error = report_json(&report, numbers);
    if (!error)
        error = report_html(&report, page);
    report_close(&report);
    if (error)
        return tool_fail(TOOL_FAILED, "report", "cannot write to %s: %s", folder,
                         strerror(-error));
    printf("%s\n%s\n", page, numbers);
    return TOOL_DONE;
}

int tool_report(int argc, char **argv)
{
    const char *path = NULL, *folder = ".";
    struct session *session;
    char text[512] = "";
    int result;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            folder = argv[++i];
        else if (argv[i][0] != '-' && !path)
            path = argv[i];
        else
            return tool_fail(
                TOOL_USAGE, "report",
                "'%s' is one too many or not understood; give one session, see --help",
                argv[i]);
    }
    if (!path)
        return tool_fail(TOOL_USAGE, "report", "which session? See --help");
    if (session_open(&session, path, text, sizeof(text)) != 0)
        return tool_fail(TOOL_FAILED, "report", "%s", text);
    result = make(session, path, folder);
    session_close(session);
    return result;
}
