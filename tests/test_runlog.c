/* Run manifests: what they hold, and that none replaces another. */
#include "store/runlog.h"

#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

TEST(runlog_writes_a_manifest_each)
{
    struct error err;
    struct scratch scratch;
    char **names;
    size_t n;
    int sum = 0;
    scratch_make(&scratch);
    struct json *settings = json_new_object();
    json_set_string(settings, "lang", "zh");
    for (int i = 0; i < 4;
         i++) /* at least two of them in one second, or the machine is very slow */
        CHECK_OK(runlog_write(scratch.folder, "ingest", "0.1", settings, NULL, 1 << i, &err), &err);
    char *runs = file_join(scratch.folder, "runs", &err);
    CHECK_OK(file_list(runs, &names, &n, &err), &err);
    CHECK_EQ(n, 4); /* and no leftovers */
    for (size_t i = 0; i < n; i++) {
        char *path = file_join(runs, names[i], &err);
        CHECK_HAS(path, "Z-ingest");
        struct json *j = json_read_file(path, 1 << 20, &err);
        CHECK_STR(json_text(json_get(j, "schema"), ""), "clipstill-run-1");
        CHECK_STR(json_text(json_get(j, "verb"), ""), "ingest");
        CHECK_STR(json_text(json_get(json_get(j, "settings"), "lang"), ""), "zh");
        CHECK(json_get(j, "counts") && json_is_null(json_get(j, "counts")));
        sum += (int)json_int(json_get(j, "exit"), 0);
        json_free(j);
        memory_free(path);
    }
    CHECK_EQ(sum, 15);
    memory_free(names);
    memory_free(runs);
    json_free(settings);
    scratch_remove(&scratch);
}

TEST_MAIN
