/* The main of a fuzz target without libFuzzer: runs every file of a folder, in order of
 * name. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "protocol/log.h"

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run(const char *folder, const char *name)
{
    char path[4096];
    uint8_t *bytes;
    size_t size;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fseek(file, 0, SEEK_END) == 0);
    size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(size + !size); /* exactly as long, so that a sanitizer sees its end */
    CHECK(bytes != NULL && fread(bytes, 1, size, file) == size);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int n = argc == 2 ? scandir(argv[1], &entries, is_input, alphasort) : -1;

    if (n <= 0) {
        fprintf(stderr, "give a folder with inputs\n");
        return 1;
    }
    for (int i = 0; i < n; i++) {
        run(argv[1], entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    printf("%d inputs of %s\n", n, argv[1]);
    return 0;
}
