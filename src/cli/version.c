/* cli/version.c -- what exactly is running: for bug reports and for fleets.
 *
 * Versions are those of the loaded libraries, not of the headers. Libraries that cannot tell are
 * named by the file that was loaded. */
#include "cli/cli.h"

#include <elf.h>
#include <link.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zlib.h>
#include <zstd.h>

#include "base/hex.h"
#include "base/json.h"
#include "base/put.h"

/* ---- the build ---- */

struct loaded { char build_id[41]; char re2[64], boost_context[64]; };

static void build_id_read(const struct dl_phdr_info *info, struct loaded *out)
{
    for (int i = 0; i < info->dlpi_phnum && !out->build_id[0]; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(uintptr_t)(info->dlpi_addr + h->p_vaddr),
                   *end = at + h->p_memsz;
        while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) n;
            memcpy(&n, at, sizeof n);
            const char *name = at + sizeof n, *bytes = name + ((n.n_namesz + 3) & ~3u);
            if (bytes > end || n.n_descsz > (size_t)(end - bytes))
                break;
            if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && memcmp(name, "GNU", 4) == 0 &&
                n.n_descsz <= 20) {
                *hex_write(out->build_id, bytes, n.n_descsz) = 0;
                break;
            }
            at = bytes + ((n.n_descsz + 3) & ~3u);
        }
    }
}

static int loaded_see(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct loaded *out = arg;
    const char *slash = strrchr(info->dlpi_name, '/'), *base = slash ? slash + 1 : info->dlpi_name;
    (void)size;
    if (!*info->dlpi_name)                      /* the program itself comes first and has no name */
        build_id_read(info, out);
    if (strncmp(base, "libre2.so", 9) == 0)
        snprintf(out->re2, sizeof out->re2, "%s", base);
    if (strncmp(base, "libboost_context.so", 19) == 0)
        snprintf(out->boost_context, sizeof out->boost_context, "%s", base);
    return 0;
}

#if defined __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* ---- the CPU ---- */

struct feature { const char *name, *used_by; bool is_there; };

static size_t features_find(struct feature out[8])
{
    size_t n = 0;
#if defined __x86_64__
    out[n++] = (struct feature){ "sse2", "JSON strings", true };
    out[n++] = (struct feature){ "avx2+bmi2", "language detector",
                                 __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") };
#else
    (void)out;
#endif
    return n;
}

/* ---- printing ---- */

int cli_version(int argc, char **argv)
{
    struct cli_args a = cli_args_start("version", argc, argv);
    bool json = false;
    for (int o; (o = cli_next(&a)) != CLI_END; ) {
        if (o != 'J')
            return o == CLI_WORD ? cli_usage_error("version", "unexpected word '%s'", a.value)
                                 : CLI_USAGE;
        json = true;
    }
    struct loaded loaded = { .build_id = "", .re2 = "static", .boost_context = "static" };
    dl_iterate_phdr(loaded_see, &loaded);
    char llhttp[32];
    snprintf(llhttp, sizeof llhttp, "%d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
             LLHTTP_VERSION_PATCH);
    const struct { const char *name, *version; } libraries[] = {
        { "openssl", OpenSSL_version(OPENSSL_VERSION_STRING) },
        { "libyaml", yaml_get_version_string() },
        { "re2", loaded.re2 },
        { "utf8proc", utf8proc_version() },
        { "zlib", zlibVersion() },
        { "zstd", ZSTD_versionString() },
        { "llhttp", llhttp },
        { "boost_context", loaded.boost_context },
    };
    struct feature features[8];
    size_t n = features_find(features);
    struct buf out = { 0 };
    if (json) {
        struct json_writer w = { .out = &out };
        jw_begin(&w, '{');
        put_str(&w, S("version"), S(SIGNALBOX_VERSION));
        put_str(&w, S("build_id"), str_of(loaded.build_id));
        put_str(&w, S("compiler"), S(COMPILER));
        put_open(&w, S("libraries"), '{');
        for (size_t i = 0; i < COUNT_OF(libraries); i++)
            put_str(&w, str_of(libraries[i].name), str_of(libraries[i].version));
        jw_end(&w, '}');
        put_open(&w, S("cpu_features"), '[');
        for (size_t i = 0; i < n; i++)
            if (features[i].is_there)
                jw_str(&w, str_of(features[i].name));
        jw_end(&w, ']');
        jw_end(&w, '}');
        buf_char(&out, '\n');
    } else {
        buf_printf(&out, "signalbox %s\nbuild      %s, %s\nlibraries ", SIGNALBOX_VERSION,
                   loaded.build_id[0] ? loaded.build_id : "no build id", COMPILER);
        for (size_t i = 0; i < COUNT_OF(libraries); i++)
            buf_printf(&out, " %s %s%s", libraries[i].name, libraries[i].version,
                       i + 1 < COUNT_OF(libraries) ? "," : "\n");
        for (size_t i = 0; i < n; i++)
            buf_printf(&out, "%-10s %s: %s (%s)\n", i ? "" : "cpu", features[i].name,
                       features[i].is_there ? "in use" : "not there", features[i].used_by);
    }
    int rc = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return rc;
}
