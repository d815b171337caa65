/* cli/train_selector.c -- `train selector`: a folder of recorded outcomes in, a selection table out.
 *
 * All rows are learned from; how good that is on rows it has not seen is what `evaluate selection` says. The file appears whole
 * or not at all. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "cli/cli.h"
#include "cli/outcomes.h"
#include "select/newcomer.h"

static void card_print(const struct outcomes *o, const struct learner *l, const char *out, size_t bytes, double seconds,
                       bool as_json)
{
    if (!as_json) {
        printf("%s: %s, learned from %u queries and %u models in %.1f s; %zu KB\n", out, l->ops->summary, o->n, o->n_models,
               seconds, bytes >> 10);
        printf("serve it with   algorithm: {type: learned, learned: {table: %s}}\n", out);
        return;
    }
    struct buf text = { 0 };
    struct json_writer j = { .out = &text };
    jw_begin(&j, '{');
    put_str(&j, S("file"), str_of(out));
    put_str(&j, S("learner"), str_of(l->ops->name));
    put_int(&j, S("queries"), o->n);
    put_int(&j, S("kinds"), l->n_kinds);
    put_int(&j, S("bytes"), (int64_t)bytes);
    put_double(&j, S("seconds"), seconds);
    put_strs(&j, S("models"), l->models, l->n_models);
    jw_end(&j, '}');
    buf_char(&text, '\n');
    cli_put(stdout, buf_view(&text));
    buf_free(&text);
}

struct wish { const char *folder, *out, *name, *config, *newcomer; bool encodes, as_json; };

/* The newcomer's empty cells become what is to be expected of it. */
static int newcomer_expect(const struct outcomes *o, const char *name, struct arena *a, struct err *e)
{
    const struct recorded r = outcomes_recorded(o);
    struct newcomer w;
    uint32_t model = outcomes_model(o, str_of(name)), known = 0;
    bool *is_known = ARENA_ARRAY(a, bool, o->n);
    if (model == UINT32_MAX)
        return err_set(e, "scores.csv has no column '%s'; signalbox probe says of which prompts to fill it first", name);
    if (o->n_models < 2)
        return err_set(e, "'%s' is the only model: there are no others to learn from what to expect", name);
    if (!newcomer_read(&w, &r, model, is_known, a))
        return err_set(e, "no memory");
    for (uint32_t i = 0; i < o->n; i++)
        known += is_known[i];
    if (known == 0)
        return err_set(e, "scores.csv has no outcome of '%s' yet; signalbox probe says of which prompts to fill in some", name);
    newcomer_fill(&w, &r, model, NEWCOMER_CAUTION, o->quality);
    return 0;
}

/* 0, or -1 and *e, which stays empty when it has been told. */
static int selector_train(const struct wish *w, struct arena *a, struct err *e)
{
    struct outcomes o;
    if (outcomes_read(&o, a, w->folder, true, e) < 0 || (w->newcomer && newcomer_expect(&o, w->newcomer, a, e) < 0))
        return -1;
    uint32_t dim = 0;
    const float *v = w->encodes ? outcomes_vectors(a, o.text, o.n, w->config, "train", &dim) : NULL;
    if (w->encodes && !v)
        return -1;
    for (uint32_t i = 0; v && i < o.n; i++)
        o.x[i].vector = v + (size_t)i * dim, o.x[i].dim = dim;
    struct recorded rows = outcomes_recorded(&o);
    struct learner *l = learner_new(w->name, NULL);
    struct buf bytes = { 0 };
    uint64_t from = clock_now();
    int rc = l ? learner_fit(l, &rows, e) : err_set(e, "no memory");
    if (rc == 0) {
        learner_save(l, &bytes);
        rc = bytes.is_failed ? err_set(e, "no memory for the table") : cli_write_whole(w->out, buf_view(&bytes), a, e);
    }
    if (rc == 0)
        card_print(&o, l, w->out, bytes.len, (double)(clock_now() - from) / 1e9, w->as_json);
    buf_free(&bytes);
    learner_free(l);
    return rc;
}

int cli_train_selector(int argc, char **argv)
{
    struct cli_args args = cli_args_start("train", argc, argv);
    struct wish w = { .name = "blend" };
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'o': w.out = args.value; break;
        case 'j': w.as_json = true; break;
        case 'p': w.name = strcmp(args.value, "learned") == 0 ? "blend" : args.value; break;
        case 'c': w.config = args.value; break;
        case 'E': w.encodes = true; break;
        case 'M': w.newcomer = args.value; break;
        case CLI_WORD:
            if (w.folder)
                return cli_usage_error("train", "one folder at a time; what is '%s'?", args.value);
            w.folder = args.value;
            break;
        default:
            return id == CLI_BAD ? CLI_USAGE : cli_usage_error("train", "of a selector there is --out, --policy, --encoder, --newcomer, --config and --json");
        }
    }
    if (!w.folder || !w.out)
        return cli_usage_error("train", "which outcomes, and where to: signalbox train selector DIR --out FILE");
    const struct learner_ops *ops = learner_by_name(str_of(w.name));
    if (!ops || !ops->save)
        return cli_usage_error("train", "--policy is learned, table, knn, factor, pilots, gates or mean, not '%s'", w.name);
    struct arena *a = arena_new();
    struct err e = { 0 };
    int rc = a ? selector_train(&w, a, &e) : err_set(&e, "no memory");
    if (e.text[0])
        fprintf(stderr, "signalbox train selector: %s\n", e.text);
    arena_free(a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
