/* The words that name an architecture: there and back, presets, and what is refused without a trace. */
#include "train/arch.h"

#include "tests/check.h"

TEST(architecture_words)
{
    struct error err = {0};
    char name[200];
    struct tower_config c = arch_image_default();
    CHECK_OK(arch_parse("vit:width=64,layers=3,heads=2,size=96", false, &c, &err), &err);
    arch_name(&c, name, sizeof name);
    CHECK_STR(name, "vit:width=64,layers=3,heads=2,mlp=256,patch=16,size=96,act=gelu");
    struct tower_config again = arch_image_default();
    CHECK_OK(arch_parse(name, false, &again, &err), &err);
    CHECK(!memcmp(&c, &again, sizeof c));
    CHECK_OK(arch_parse("mobilevit-xs:size=128", false, &c, &err), &err);
    CHECK_EQ(c.arch, ARCH_MOBILEVIT);
    CHECK_EQ(c.image_size, 128);
    c = arch_text_default();
    CHECK_OK(arch_parse("text-small:embed=0,pooling=cls,tokens=32", true, &c, &err), &err);
    CHECK_EQ(c.max_positions, 34);
    CHECK_EQ(c.pooling, POOL_CLS);
    const char *const bad[] = {"vit:width=65,heads=2",  "vit:size=100", "resnet",
                               "vit:depth=3",           "vit:width",    "vit:layers=x",
                               "mobilevit-xs:size=100", "mobilevit-xl", "text-tiny",
                               "mobilevit-xs:width=3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tower_config kept = arch_image_default();
        c = kept;
        err.text[0] = 0;
        CHECK_EQ(arch_parse(bad[i], false, &c, &err), ERR_USAGE);
        CHECK(strlen(err.text) > 10);
        CHECK(!memcmp(&c, &kept, sizeof c));
    }
}

TEST_MAIN
