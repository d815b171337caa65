/* cli/key.c -- signalbox key: make, list, change and remove virtual keys. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/put.h"
#include "cli/tenancy.h"

struct words { str *items; size_t n; };

struct key_words {                  /* what a new key shall be */
    struct arena *a;
    const char *texts[8];
    struct words groups, models, entrypoints;
    int64_t rpm, tpm, concurrent;
    double budget;
    const char *period, *on_budget, *expires, *grace;
};

static const struct { char id; const char *member; } texts[] = {
    { 'o', "owner" }, { 't', "team" }, { 'p', "project" }, { 'r', "role" }, { 'D', "description" },
};

static void list_write(struct json_writer *w, const char *key, const struct words *list)
{
    if (!list->n)
        return;
    put_strs(w, str_of(key), list->items, list->n);
}

static void number_write(struct json_writer *w, const char *key, int64_t v)
{
    if (v)
        put_int(w, str_of(key), v);
}

/* A date as it is; "90d", "12h" from now on. False: neither. */
static bool expires_write(struct json_writer *w, const char *text)
{
    int64_t seconds, days;
    uint64_t ns;
    char time[32];
    str s = str_of(text);
    if (!text)
        return true;
    jw_key(w, S("expires"));
    if (date_parse(s, &seconds)) {
        jw_str(w, s);
        return true;
    }
    if (str_ends(s, S("d")) && str_int(str_upto(s, s.len - 1), &days) && days > 0 && days < 100000)
        ns = (uint64_t)days * 86400 * NS_PER_S;
    else if (!duration_parse(s, &ns))
        return false;
    jw_str(w, (str){ time, clock_iso(clock_wall() + ns, time) });
    return true;
}

static str body_write(const struct key_words *k, str id, bool *ok)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    jw_begin(&w, '{');
    if (id.len)
        put_str(&w, S("id"), id);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (k->texts[i])
            put_str(&w, str_of(texts[i].member), str_of(k->texts[i]));
    list_write(&w, "groups", &k->groups);
    list_write(&w, "models", &k->models);
    list_write(&w, "entrypoints", &k->entrypoints);
    *ok = expires_write(&w, k->expires);
    if (k->rpm || k->tpm || k->concurrent) {
        put_open(&w, S("limits"), '{');
        number_write(&w, "requests_per_minute", k->rpm);
        number_write(&w, "tokens_per_minute", k->tpm);
        number_write(&w, "concurrent", k->concurrent);
        jw_end(&w, '}');
    }
    if (!isnan(k->budget)) {
        put_open(&w, S("budget"), '{');
        put_double(&w, S("amount_usd"), k->budget);
        if (k->period)
            put_str(&w, S("period"), str_of(k->period));
        if (k->on_budget)
            put_str(&w, S("on_budget"), str_of(k->on_budget));
        jw_end(&w, '}');
    }
    jw_end(&w, '}');
    return buf_to_arena(&out, k->a);
}

static int print_list(struct arena *a, str text)
{
    static const char *const heads[] = { "id", "source", "owner", "team", "models", "expires", "last_used", "disabled" };
    struct json j;
    struct json_error je;
    struct table t = { .a = a, .n_columns = COUNT_OF(heads) + 1 };
    if (json_parse(a, text, &j, &je) < 0 || json_get(&j, 0, S("keys")) == JSON_NONE)
        return CLI_USAGE;
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        table_cell(&t, str_of(heads[i]));
    table_cell(&t, S("spent_usd"));
    JSON_EACH_ITEM(&j, json_get(&j, 0, S("keys")), item) {
        for (size_t i = 0; i < COUNT_OF(heads); i++)
            table_cell(&t, json_shown(a, &j, item, heads[i]));
        table_cell(&t, json_shown(a, &j, json_get(&j, item, S("budget")), "spent_usd"));
    }
    return table_print(&t);
}

static int print_record(struct arena *a, const char *verb, str text)
{
    struct json j;
    struct json_error je;
    struct buf out = { 0 };
    if (json_parse(a, text, &j, &je) < 0)
        return CLI_USAGE;
    str secret = json_shown(a, &j, 0, "key");
    jref record = json_get(&j, 0, S("record")), at = record == JSON_NONE ? 0 : record;
    if (secret.len) {
        buf_printf(&out, STR_FMT "\n", STR_ARG(secret));
        fprintf(stderr, "This is the only time the key is shown.\n");
    } else if (str_eq(str_of(verb), S("delete"))) {
        buf_str(&out, S("deleted\n"));
    } else {
        JSON_EACH_PAIR(&j, at, key, value)
            buf_printf(&out, "%-12.*s " STR_FMT "\n", (int)json_str(&j, key, a).len, json_str(&j, key, a).ptr,
                       STR_ARG(json_is(&j, value, JSON_OBJECT) ? json_raw(&j, value)
                                                               : json_shown(a, &j, at, arena_cstr(a, json_str(&j, key, a)))));
    }
    int rc = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return rc;
}

static int ask(const struct tenancy_target *t, const struct key_words *k, const char *verb, const char *id)
{
    struct arena *a = k->a;
    str path = S("/api/v1/keys"), body = S(""), text;
    const char *method = "GET";
    bool ok = true;
    if (strcmp(verb, "create") == 0) {
        method = "POST";
        body = body_write(k, str_of(id), &ok);
        if (!ok)
            return cli_usage_error("key", "--expires %s: a date (2027-01-31) or a time from now (90d, 12h)", k->expires);
    } else if (id) {
        path = arena_printf(a, "/api/v1/keys/" STR_FMT, STR_ARG(path_escape(a, str_of(id))));
    }
    if (strcmp(verb, "rotate") == 0) {
        method = "POST";
        path = arena_printf(a, STR_FMT "/rotate", STR_ARG(path));
        struct buf out = { 0 };
        if (k->grace) {
            buf_str(&out, S("{\"grace\":"));
            json_quote(&out, str_of(k->grace));
            buf_char(&out, '}');
        }
        body = buf_to_arena(&out, a);
    } else if (strcmp(verb, "disable") == 0 || strcmp(verb, "enable") == 0) {
        method = "PATCH";
        body = strcmp(verb, "disable") == 0 ? S("{\"disabled\":true}") : S("{\"disabled\":false}");
    } else if (strcmp(verb, "delete") == 0) {
        method = "DELETE";
    }
    int rc = tenancy_ask(t, a, keys_answer, method, path, S(""), body, &text);
    if (rc != CLI_FINE)
        return rc;
    if (t->json)
        return json_put(text);
    return strcmp(verb, "list") == 0 ? print_list(a, text) : print_record(a, verb, text);
}

static bool positive(const char *text, int64_t *out)
{
    return str_int(str_of(text), out) && *out > 0;
}

int cli_key(int argc, char **argv)
{
    static const char *const verbs[] = { "create", "list", "show", "rotate", "disable", "enable", "delete" };
    struct cli_args args = cli_args_start("key", argc, argv);
    struct tenancy_target t = { .command = "key" };
    struct key_words k = { .a = arena_new(), .budget = (double)NAN };
    const char *verb = NULL, *id = NULL;
    int o, rc = CLI_FINE;
    while (rc == CLI_FINE && (o = cli_next(&args)) != CLI_END) {
        bool is_text = false;
        for (size_t i = 0; i < COUNT_OF(texts); i++)
            if (o == texts[i].id) {
                k.texts[i] = args.value;
                is_text = true;
            }
        if (is_text || tenancy_option(&t, o, args.value))
            continue;
        struct words *list = o == 'g' ? &k.groups : o == 'm' ? &k.models : o == 'E' ? &k.entrypoints : NULL;
        int64_t *number = o == 'R' ? &k.rpm : o == 'K' ? &k.tpm : o == 'N' ? &k.concurrent : NULL;
        if (list)
            *PUSH(k.a, list->items, list->n) = str_of(args.value);
        else if (number && !positive(args.value, number))
            rc = cli_usage_error("key", "'%s' is not a number from 1 on", args.value);
        else if (o == 'b' && (!str_double(str_of(args.value), &k.budget) || k.budget < 0))
            rc = cli_usage_error("key", "--budget %s: US dollars", args.value);
        else if (o == 'P')
            k.period = args.value;
        else if (o == 'O')
            k.on_budget = args.value;
        else if (o == 'x')
            k.expires = args.value;
        else if (o == 'G')
            k.grace = args.value;
        else if (o == CLI_WORD && !verb)
            verb = args.value;
        else if (o == CLI_WORD && !id)
            id = args.value;
        else if (o == CLI_WORD)
            rc = cli_usage_error("key", "unexpected word '%s'", args.value);
        else if (o == CLI_BAD)
            rc = CLI_USAGE;
    }
    bool is_known = false;
    for (size_t i = 0; verb && i < COUNT_OF(verbs); i++)
        is_known |= strcmp(verb, verbs[i]) == 0;
    if (rc == CLI_FINE && !is_known)
        rc = cli_usage_error("key", "create, list, show, rotate, disable, enable or delete?");
    else if (rc == CLI_FINE && !id && strcmp(verb, "create") != 0 && strcmp(verb, "list") != 0)
        rc = cli_usage_error("key", "%s which key?", verb);
    if (rc == CLI_FINE)
        rc = ask(&t, &k, verb, id);
    arena_free(k.a);
    return rc;
}
