/* Runs the golden vectors of a folder: conformance [DIR], by default the folder `golden` beside
 * TEST_DATA (environment, or as configured). A line for each case that fails and for each part that
 * is skipped, then `N passed, N failed`, and `, N skipped` where there are any. Exit 0, or 1 when a
 * case failed, 2 on wrong usage, 77 when the folder is absent. */
#include "check.h"

#include "selectors/selectors.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *kind;
    void (*run)(struct check *check, const json_t *golden);
} kinds[] = {
    {"weights", check_weights}, {"fisher", check_fisher},     {"downdate", check_downdate},
    {"mle", check_mle},         {"pool", check_pool},         {"batch", check_batch},
    {"design", check_design},   {"sampling", check_sampling}, {"rule", check_rules},
    {"set", check_lists},
};

static void run_golden(struct check *check, const json_t *golden)
{
    const char *kind = json_string_value(json_object_get(golden, "kind"));
    for (size_t k = 0; kind != NULL && k < sizeof kinds / sizeof kinds[0]; k++) {
        if (strcmp(kinds[k].kind, kind) == 0) {
            kinds[k].run(check, golden);
            return;
        }
    }
    check_skip(check, kind == NULL ? check->file : kind, "the library has no such part yet");
}

static void run_file(struct check *check, const char *folder, const char *name)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check->file = name;
    json_t *golden = json_load_file(path, 0, &error);
    if (golden == NULL) {
        printf("failed: %s: line %d: %s\n", name, error.line, error.text);
        check->failed++;
        return;
    }
    run_golden(check, golden);
    json_decref(golden);
}

static int is_golden(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fprintf(stderr, "usage: conformance [DIR]\n");
        return 2;
    }
    char folder[2048];
    const char *data = getenv("TEST_DATA");
    if (argc == 2)
        snprintf(folder, sizeof folder, "%s", argv[1]);
    else
        snprintf(folder, sizeof folder, "%s/../golden", data == NULL ? TEST_DATA_DEFAULT : data);
    struct stat status;
    if (stat(folder, &status) != 0) {
        printf("skipped: no golden vectors at %s\n", folder);
        return 77;
    }
    struct dirent **entries;
    int count = scandir(folder, &entries, is_golden, alphasort);
    if (count < 0) {
        perror(folder);
        return 2;
    }
    sel_init();
    struct check check = {0};
    for (int k = 0; k < count; k++) {
        run_file(&check, folder, entries[k]->d_name);
        free(entries[k]);
    }
    free(entries);
    printf("%zu passed, %zu failed", check.passed, check.failed);
    if (check.skipped > 0)
        printf(", %zu skipped", check.skipped);
    putchar('\n');
    return check.failed > 0 || check.passed == 0;
}
