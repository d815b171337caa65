/* What was acknowledged is kept: through kill -9, through a torn line, through a checkpoint in between; and an outcome counts
 * once. */
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rand.h"
#include "pipeline/learning_state.h"

static char dir[] = "/tmp/test_learning_XXXXXX";

static int fresh(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

static struct learning *opened(void)
{
    struct err e = { 0 };
    struct learning *l = learning_new();
    assert_int_equal(learning_open(l, str_of(dir), &e), 0);
    return l;
}

static str id_of(char buf[32], int i)
{
    return (str){ buf, (size_t)snprintf(buf, 32, "req-%d", i) };
}

static void decide(struct learning *l, int i, const char *model, uint64_t kind)
{
    char id[32];
    float x[CONTEXT_N];
    struct query_context q = { .length = .3f, .complexity = (float)(i % 7) / 7 };
    q.kinds[kind % CONTEXT_KINDS] = 1;
    context_fill(&q, &(struct candidate_context){ .expected = .6, .deviation = .15, .load = .2, .reputation = .01 * (i % 5) }, x);
    learning_remember(l, &(struct decided){ .id = id_of(id, i), .model = str_of(model), .kind = kind, .now_s = 1000 + (uint64_t)i,
                                            .expected = .6, .mean = .6, .deviation = .1, .propensity = .5, .cost = NAN, .decision = 77, .n_arms = 3, .x = x });
}

/* All that the strategies know, but for the cells, whose order is that of a hash table. */
static str sums_of(const struct learning *l, struct arena *a)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    for (size_t i = 1; evidence_all[i]; i++)
        evidence_all[i]->write(&l->own, &w);
    return buf_to_arena(&out, a);
}

static enum outcome_result say(struct learning *l, int i, enum outcome_source s, double reward)
{
    char id[32];
    return learning_say(l, id_of(id, i), s, reward, 1);
}

static str export_of(struct learning *l, struct arena *a)
{
    struct buf out = { 0 };
    learning_export(l, &out);
    return buf_to_arena(&out, a);
}

static void an_outcome_counts_once_and_a_correction_replaces_it(void **state)
{
    (void)state;
    struct learning *l = learning_new();
    decide(l, 1, "a", 7);
    assert_int_equal(say(l, 1, SOURCE_USER, 1), SAID_NEW);
    struct cell once = *cells_at(&l->own.cells, 0, 7);
    assert_int_equal(say(l, 1, SOURCE_USER, 1), SAID_AGAIN);
    assert_memory_equal(&once, cells_at(&l->own.cells, 0, 7), sizeof once);
    assert_int_equal(say(l, 1, SOURCE_USER, 0), SAID_CORRECTED);
    assert_true(cells_at(&l->own.cells, 0, 7)->n == 1 && fabs(cells_at(&l->own.cells, 0, 7)->rest + .6) < 1e-6);
    assert_int_equal(say(l, 1, SOURCE_IMPLICIT, 1), SAID_OVERRULED);    /* the user knows better than we do */
    assert_true(fabs(cells_at(&l->own.cells, 0, 7)->rest + .6) < 1e-6);
    char id[32];
    learning_say(l, id_of(id, 1), SOURCE_USER, 0, 0);                   /* the user takes it back: ours counts */
    assert_true(cells_at(&l->own.cells, 0, 7)->n == 1 && fabs(cells_at(&l->own.cells, 0, 7)->rest - .4) < 1e-6);
    learning_say(l, id_of(id, 1), SOURCE_IMPLICIT, 0, 0);
    assert_true(cells_at(&l->own.cells, 0, 7)->n == 0 && cells_at(&l->own.cells, 0, 7)->rest == 0);
    assert_int_equal(say(l, 2, SOURCE_USER, 1), SAID_UNKNOWN);
    assert_int_equal((int)learning_say(l, S("req-1"), SOURCE_USER, NAN, 1), SAID_UNKNOWN);
    learning_free(l);
}

static void partial_outcomes_count_in_part(void **state)
{
    (void)state;
    struct learning *l = learning_new();
    char id[32];
    decide(l, 1, "a", 7);
    learning_say(l, id_of(id, 1), SOURCE_JUDGE, .8, .25);
    assert_true(fabs(cells_at(&l->own.cells, 0, 7)->n - .25) < 1e-9);
    learning_free(l);
}

/* A child runs work(l, 0), work(l, 1) ... and tells after each; it is killed when some `enough` of them are done. Returns the last that
 * it told of; one more may be done. */
static int killed_at(void (*work)(struct learning *l, int i), int most, int enough)
{
    int pipe_fd[2], last = -1, i;
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t child = fork();
    if (child == 0) {
        struct learning *l = opened();
        for (i = 0; i < most; i++) {
            work(l, i);
            if (i % 50 == 25)
                learning_checkpoint(l);
            if (write(pipe_fd[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
        for (;;)
            pause();
    }
    close(pipe_fd[1]);
    while (last < enough && read(pipe_fd[0], &i, sizeof i) == sizeof i)
        last = i;
    kill(child, SIGKILL);
    while (read(pipe_fd[0], &i, sizeof i) == sizeof i)
        last = i;
    waitpid(child, NULL, 0);
    close(pipe_fd[0]);
    return last;
}

static void decide_and_say(struct learning *l, int i)
{
    decide(l, i, i % 3 ? "a" : "b", 1 + (uint64_t)i % 5);
    say(l, i, SOURCE_OPERATOR, i % 2);
}

/* The child says outcomes and tells after each acknowledgement; the parent kills it in the middle. */
static void every_acknowledged_outcome_survives_kill_9(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        fresh(NULL);
        int last = killed_at(decide_and_say, INT_MAX, 400 + 37 * round);
        struct learning *after = opened(), *want = learning_new();
        char id[32];
        struct remembered d;
        char model[LEARNING_NAME_MAX];
        bool has_more = learning_recall(after, id_of(id, last + 1), &d, model) && d.counted.weight > 0;
        for (int k = 0; k <= last + has_more; k++)      /* the one that was done but not told of yet may be there, too */
            decide_and_say(want, k);
        for (uint64_t kind = 0; kind <= 5; kind++)
            for (int m = 0; m < 2; m++) {
                uint32_t x = learned_index(after, m ? S("a") : S("b")), y = learned_index(want, m ? S("a") : S("b"));
                struct cell *p = cells_at(&after->own.cells, x, kind), *q = cells_at(&want->own.cells, y, kind);
                assert_true(p->n == q->n && p->rest == q->rest && p->squares == q->squares);    /* bit for bit */
            }
        struct arena *a = arena_new();
        str x = sums_of(after, a), y = sums_of(want, a);
        assert_true(x.len > 1000 && str_eq(x, y));
        arena_free(a);
        assert_int_equal(say(after, 3, SOURCE_OPERATOR, 1), SAID_AGAIN);        /* and the memory of decisions */
        assert_int_equal(say(after, 3, SOURCE_OPERATOR, 0), SAID_CORRECTED);
        learning_free(after), learning_free(want);
    }
}

enum { BUDGET = 1000000, MOST = 900 };

static const struct pacing_rules pocket = { .budget = BUDGET, .window = 3600ull * 1000000000, .step = PACING_STEP };

static int64_t spent_of(struct learning *l, uint64_t purse, uint64_t now)
{
    struct purse *p = purse_at(l, purse, now);
    assert_int_equal(p->of.promised, 0);
    return p->of.rules.budget - pacing_left(&p->of, now);
}

static const uint64_t spending_began = 5000ull * 3600 * 1000000000;

/* Two purses in turns; every third request is on its way for ever. */
static void spend_one(struct learning *l, int i)
{
    uint64_t now = spending_began + (uint64_t)i, purse = 1 + (uint64_t)i % 2;
    int64_t most = MOST;
    bool may;
    learning_pace(l, purse, &pocket, &most, most, now, 1, &may);
    if (may && learning_promise(l, purse, most, now) && i % 3)
        learning_spend(l, purse, most, i % 700, most, now);
}

/* Killed at any moment: what was told of is gone from the purse, and what was promised and not told of as well. */
static void a_purse_is_not_filled_by_a_kill(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        fresh(NULL);
        int last = killed_at(spend_one, 1000, 300 + 97 * round);
        int64_t want[2] = { 0 }, got = 0, sum = 0;
        for (int i = 0; i <= last; i++)
            want[i % 2] += i % 3 ? i % 700 : MOST;
        struct learning *after = opened();
        for (int k = 0; k < 2; k++) {
            int64_t v = spent_of(after, 1 + (uint64_t)k, spending_began + 2000);
            got += v;
            sum += want[k];
            assert_true(v >= want[k] && v <= want[k] + MOST);      /* the one that was done and not told of */
        }
        assert_true(got <= sum + MOST);
        learning_free(after);
    }
}

static void purses_are_bounded_and_strange_ones_are_left_out(void **state)
{
    (void)state;
    fresh(NULL);
    struct learning *l = opened();
    const uint64_t now = 5000ull * 3600 * 1000000000;
    int64_t most = MOST;
    bool may;
    for (uint64_t i = 1; i <= LEARNING_PURSES_MAX + 100; i++) {        /* all of them spend: nobody is idle */
        learning_pace(l, i, &pocket, &most, most, now, 1, &may);
        assert_true(learning_promise(l, i, most, now));
        learning_spend(l, i, most, 5, most, now);
    }
    assert_true(l->n_purses <= LEARNING_PURSES_MAX + 1);
    assert_true(spent_of(l, LEARNING_PURSES_MAX + 50, now) >= 100 * 5);    /* who came late shares one */
    uint64_t later = now + 2 * pocket.window;
    learning_pace(l, 1ull << 40, &pocket, &most, most, later, 1, &may);    /* now all are idle, and make room */
    assert_true(may && l->n_purses < 10);
    learning_free(l);

    char path[128];
    snprintf(path, sizeof path, "%s/journal.jsonl", dir);
    FILE *f = fopen(path, "a");
    fputs("{\"s\":90000000,\"t\":\"promised\",\"purse\":\"77\",\"most\":5,\"at\":1}\n"         /* no window */
          "{\"s\":90000001,\"t\":\"spent\",\"purse\":\"78\",\"most\":5,\"cost\":9,\"at\":1}\n"
          "{\"s\":90000002,\"t\":\"promised\",\"purse\":\"79\",\"budget\":9223372036854775807,\"window\":1,\"most\":9223372036854775807,\"at\":9}\n"
          "{\"s\":90000003,\"t\":\"spent\",\"purse\":\"79\",\"most\":-4,\"cost\":\"x\",\"at\":-3}\n", f);
    fclose(f);
    l = opened();
    learning_pace(l, 0x79, &pocket, &most, most, later, 1, &may);
    assert_true(may);
    learning_free(l);
    fresh(NULL);
}

static void a_torn_line_and_strange_lines_do_no_harm(void **state)
{
    (void)state;
    struct learning *l = opened();
    decide(l, 1, "a", 7);
    say(l, 1, SOURCE_USER, 1);
    learning_free(l);
    char path[128];
    snprintf(path, sizeof path, "%s/journal.jsonl", dir);
    FILE *f = fopen(path, "a");
    fputs("\n{}\n[1]\nnonsense\n{\"s\":99,\"t\":\"said\",\"id\":\"req-1\",\"source\":\"user\",\"reward\":1e300,\"weight\":1}\n"
          "{\"s\":100,\"t\":\"changed\",\"model\":\"a\",\"after\":[[1]]}\n{\"s\":101,\"t\":\"said\",\"id\":\"req-1\",\"sou", f);
    fclose(f);
    l = opened();
    assert_true(cells_at(&l->own.cells, 0, 7)->n == 1);
    decide(l, 2, "a", 7);
    say(l, 2, SOURCE_USER, 1);
    learning_free(l);
    l = opened();
    assert_true(cells_at(&l->own.cells, 0, 7)->n == 2);
    learning_free(l);
}

static void a_state_that_cannot_be_read_is_kept_aside(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "[]", "{\"version\":0}", "{\"version\":99,\"models\":[],\"cells\":[]}", "{\"version\":1}",
        "{\"version\":1,\"models\":[{\"name\":\"a\"}],\"cells\":[[5,\"1\",1,0,0,0]]}",
        "{\"version\":1,\"models\":[{\"name\":\"a\"}],\"cells\":[[0,\"1\",-1,0,0,0]]}",
        "{\"version\":1,\"models\":[{\"name\":\"a\"}],\"cells\":[[0,\"1\",1,1e9,0,0]]}",
        "{\"version\":1,\"models\":[],\"cells\":[],\"linear\":{}}",
        "{\"version\":1,\"models\":[],\"cells\":[],\"linear\":[[0,1,[],[]]]}",
        "{\"version\":1,\"models\":[{\"name\":\"a\"}],\"cells\":[],\"linear\":[[0,-1,[],[]]]}",
        "{\"version\":1,\"models\":[],\"cells\":[],\"shares\":[[\"1\",0,[]]]}",
        "{\"version\":1,\"models\":[],\"cells\":[],\"shares\":[[\"1\",1,[[0,1,0]]]]}",
        "{\"version\":1,\"models\":[{\"name\":\"a\"}],\"cells\":[],\"shares\":[[\"1\",1,[[0,1,7]]]]}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        fresh(NULL);
        learning_free(opened());
        char path[128], aside[160];
        snprintf(path, sizeof path, "%s/state.json", dir);
        snprintf(aside, sizeof aside, "%s.unreadable", path);
        FILE *f = fopen(path, "w");
        fputs(bad[i], f);
        fclose(f);
        struct learning *l = opened();
        assert_int_equal(l->own.cells.used, 0);
        assert_int_equal(access(aside, F_OK), 0);
        learning_free(l);
    }
}

/* What version 1 wrote must be readable for ever; keys of later versions are passed over. */
static void a_state_of_version_1_is_read(void **state)
{
    (void)state;
    learning_free(opened());
    char path[128];
    snprintf(path, sizeof path, "%s/state.json", dir);
    FILE *f = fopen(path, "w");
    fputs("{\"version\":1,\"instance\":\"box-1\",\"seq\":12,\"later\":{\"x\":[1]},\"models\":[{\"name\":\"a\",\"calls\":3,\"outcomes\":2,"
          "\"reward\":1.5,\"failures\":0,\"changes\":0,\"new_key\":1}],\"cells\":[[0,\"0\",2,0.3,0.1,0],[0,\"abcdef0123456789\",2,0.3,0.1,0,7]],"
          "\"answered\":0.25,\"peers\":[]}\n", f);
    fclose(f);
    struct learning *l = opened();
    assert_string_equal(l->instance, "box-1");
    assert_true(cells_at(&l->own.cells, 0, 0xabcdef0123456789)->n == 2 && l->seq == 12 && l->answered == .25);
    learning_free(l);
}

static void instances_add_up_and_sending_twice_counts_once(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct err e = { 0 };
    struct learning *one = learning_new(), *two = learning_new(), *both = learning_new();
    for (int i = 0; i < 40; i++) {
        struct learning *l = i % 2 ? one : two;
        decide(l, i, i % 4 < 2 ? "a" : "b", 3);
        say(l, i, SOURCE_OPERATOR, i % 3 == 0);
        decide(both, i, i % 4 < 2 ? "a" : "b", 3);
        say(both, i, SOURCE_OPERATOR, i % 3 == 0);
    }
    str sent = export_of(two, a);
    assert_int_equal(learning_import(one, sent, &e), 0);
    assert_int_equal(learning_import(one, sent, &e), 1);
    assert_int_equal(learning_import(two, sent, &e), -1);       /* its own */
    assert_int_equal(learning_import(one, S("{\"version\":1,\"instance\":\"x\",\"seq\":1}"), &e), -1);
    for (int m = 0; m < 2; m++) {
        str name = m ? S("a") : S("b");
        struct belief x = cells_belief(&one->all.cells, learned_index(one, name), 3, .5, .2);
        struct belief y = cells_belief(&both->own.cells, learned_index(both, name), 3, .5, .2);
        assert_true(fabs(x.mean - y.mean) < 1e-9 && fabs(x.deviation - y.deviation) < 1e-9);
    }
    decide(two, 100, "a", 3);
    say(two, 100, SOURCE_OPERATOR, 1);
    assert_int_equal(learning_import(one, export_of(two, a), &e), 0);   /* newer: takes the place of the older */
    assert_int_equal(one->n_peers, 1);
    learning_free(one), learning_free(two), learning_free(both);
    arena_free(a);
}

static void a_changed_model_is_forgotten_also_after_a_restart(void **state)
{
    (void)state;
    struct learning *l = opened();
    uint64_t seed = 1;
    int i = 0;
    for (; i < 300; i++) {
        decide(l, i, "a", 7);
        say(l, i, SOURCE_OPERATOR, rand_unit(&seed) < .6);
    }
    assert_int_equal(l->models[0]->changes, 0);
    while (i < 500 && l->models[0]->changes == 0) {
        decide(l, i, "a", 7);
        say(l, i++, SOURCE_OPERATOR, 0);
    }
    assert_int_equal(l->models[0]->changes, 1);
    assert_true(cells_at(&l->own.cells, 0, 7)->n < 60 && i < 340);
    struct cell before = *cells_at(&l->own.cells, 0, 7);
    struct arena *a = arena_new();
    str sums = sums_of(l, a);
    assert_true(l->own.pots.of[0].of[0].shift < -.3 && l->own.linear.of[0]->count < 60);
    learning_free(l);
    l = opened();
    assert_true(str_eq(sums_of(l, a), sums));
    arena_free(a);
    assert_int_equal(l->models[0]->changes, 1);
    struct cell *after = cells_at(&l->own.cells, 0, 7);
    assert_true(after->n == before.n && after->rest == before.rest);
    assert_true(cells_at(&l->own.cells, 0, CELL_ALL)->wide > 0);
    learning_free(l);
}

static bool measures(struct learning *l, double right, double kind, double harsh)
{
    const struct agreement *g = &l->agreement;
    return g->right == right && g->too_kind == kind && g->too_harsh == harsh;
}

static void the_judges_error_is_measured_once_a_decision_and_survives(void **state)
{
    (void)state;
    struct learning *l = opened();
    learning_judge(l, 77);
    for (int i = 0; i < 6; i++)
        decide(l, i, "m", 1);
    say(l, 0, SOURCE_JUDGE, .9);
    assert_true(measures(l, 0, 0, 0));
    say(l, 0, SOURCE_OPERATOR, 1);
    say(l, 0, SOURCE_OPERATOR, 1);              /* again: nothing new */
    say(l, 1, SOURCE_OPERATOR, 0);              /* in the other order */
    say(l, 1, SOURCE_JUDGE, .8);
    say(l, 2, SOURCE_JUDGE, .1);
    say(l, 2, SOURCE_USER, 1);                  /* is not the operator */
    say(l, 3, SOURCE_JUDGE, .1);
    say(l, 3, SOURCE_OPERATOR, 1);
    assert_true(measures(l, 1, 1, 1));
    say(l, 3, SOURCE_OPERATOR, 0);              /* corrected: the judge was right */
    assert_true(measures(l, 2, 1, 0));
    double weight = learning_judge_weight(l);
    learning_checkpoint(l);
    say(l, 2, SOURCE_OPERATOR, 1);              /* behind the checkpoint, in the journal alone */
    assert_true(measures(l, 2, 1, 1));
    assert_true(learning_judge_weight(l) < weight);
    learning_free(l);

    l = opened();
    assert_true(measures(l, 2, 1, 1));
    decide(l, 9, "fresh", 3);
    char late[32];
    learning_say(l, id_of(late, 9), SOURCE_JUDGE, 1, .01);      /* of the least weight: its residual is the largest that there is */
    learning_checkpoint(l);
    learning_free(l);
    l = opened();                               /* and a state that holds it is still read */
    uint32_t fresh = learned_index(l, S("fresh"));
    assert_true(fabs(cells_at(&l->own.cells, fresh, 3)->rest - .01 * (5.5 - .6)) < 1e-6);
    learning_say(l, id_of(late, 9), SOURCE_OPERATOR, 1, 1);     /* a better word takes its place, exactly */
    assert_true(fabs(cells_at(&l->own.cells, fresh, 3)->rest - .4) < 1e-6 && cells_at(&l->own.cells, fresh, 3)->n == 1);
    learning_say(l, id_of(late, 9), SOURCE_OPERATOR, 0, 0);
    learning_say(l, id_of(late, 9), SOURCE_JUDGE, 0, 0);
    assert_true(measures(l, 2, 1, 1));
    learning_judge(l, 77);                      /* the same */
    assert_true(measures(l, 2, 1, 1));
    char id[32];
    learning_say(l, id_of(id, 2), SOURCE_OPERATOR, 0, 0);       /* taken back, also of a decision of before */
    assert_true(measures(l, 2, 1, 0));
    learning_judge(l, 78);                      /* another model or other instructions */
    assert_true(measures(l, 0, 0, 0));
    learning_free(l);
    l = opened();
    assert_true(measures(l, 0, 0, 0) && l->judge == 78);
    struct buf out = { 0 };
    learning_show(l, &out);
    assert_true(str_find(buf_view(&out), S("\"judge\":{\"pairs\":0,\"right\":0,\"too_kind\":0,\"too_harsh\":0,\"error\":null,")) > 0);
    buf_free(&out);
    learning_free(l);
}

static void a_failover_is_the_failure_of_one_and_the_answer_of_the_other(void **state)
{
    (void)state;
    struct learning *l = learning_new();
    decide(l, 1, "a", 7);
    learning_failed_over(l, S("req-1"), S("b"), 1001);
    say(l, 1, SOURCE_USER, 1);
    uint32_t m = learned_index(l, S("a")), k = learned_index(l, S("b"));
    assert_true(cells_at(&l->own.cells, m, 7)->rest < 0 && cells_at(&l->own.cells, k, 7)->rest > 0);
    learning_free(l);
}

static void the_memory_is_bounded(void **state)
{
    (void)state;
    struct learning *l = learning_new();
    for (int i = 0; i < OUTCOMES_MAX + 1000; i++)
        decide(l, i, "a", 7);
    assert_int_equal(l->memory.n, OUTCOMES_MAX);
    assert_int_equal(say(l, 5, SOURCE_USER, 1), SAID_UNKNOWN);
    assert_int_equal(say(l, OUTCOMES_MAX + 5, SOURCE_USER, 1), SAID_NEW);
    assert_true(l->models[0]->pending <= PENDING_S + 64);
    learning_free(l);
}

static void sessions_come_and_go(void **state)
{
    (void)state;
    struct learning *l = learning_new();
    struct session s;
    char model[LEARNING_NAME_MAX];
    assert_false(learning_session(l, 5, &s, model));
    learning_session_turn(l, 5, S("a"), 1, 100, S("r1"), 10);
    learning_session_turn(l, 5, S("a"), 1, 200, S("r2"), 20);
    learning_session_turn(l, 5, S("b"), 1, 300, S("r3"), 30);
    assert_true(learning_session(l, 5, &s, model));
    assert_string_equal(model, "b");
    assert_true(s.turns == 1 && s.switches == 1 && s.seen_s == 30);
    for (uint64_t k = 100; k < 200000; k++)
        learning_session_turn(l, k, S("a"), 1, 1, S("r"), k);
    assert_false(learning_session(l, 5, &s, model));            /* long forgotten */
    assert_true(learning_session(l, 199999, &s, model));
    learning_free(l);
}

static void choices_and_chances_can_be_thrown_again(void **state)
{
    const struct evidence_ops *strategy = *state;
    struct arena *a = arena_new();
    struct learning *l = learning_new();
    struct offer offers[] = { { .model = S("a"), .expected = .6, .deviation = .2, .cost = NAN },
                              { .model = S("b"), .expected = .6, .deviation = .2, .cost = NAN },
                                  { .model = S("c"), .is_out = true } };
    struct bandit_rules rules = { .scale = .5, .floor = .01, .incumbent = UINT32_MAX };
    struct situation s = { .strategy = strategy, .query = { .kind = 7, .decision = 9 } };
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct chosen c;
        double again[3];
        s.seed = seed;
        learning_choose(l, offers, 3, &rules, &s, a, &c);
        bandit_chances(&c.rules, c.arms, c.n, again);
        assert_int_equal(bandit_throw(again, c.n, c.seed), c.at);
        assert_memory_equal(again, c.chances, sizeof again);
        assert_true(c.at < 2 && c.propensity == again[c.at]);
    }
    for (int i = 0; i < 6; i++)
        learning_form(l, S("a"), true, 0);              /* answers without the asked form */
    struct chosen c;
    s.seed = s.now_ns = 1;
    learning_choose(l, offers, 3, &rules, &s, a, &c);
    assert_true(c.arms[0].is_out && c.at == 1 && c.propensity == 1);
    learning_free(l);
    arena_free(a);
}

static void a_newcomer_is_looked_at_until_enough_came_of_it(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct learning *l = learning_new();
    struct offer offers[] = { { .model = S("a"), .expected = .6, .deviation = .05 }, { .model = S("n"), .expected = .5, .deviation = .1 } };
    struct bandit_rules rules = { .scale = .3, .floor = .01, .incumbent = UINT32_MAX };
    struct situation s = { .query = { .kind = 7, .decision = 77 }, .seed = 1 };
    struct chosen c;
    learning_choose(l, offers, 2, &rules, &s, a, &c);
    double known = c.chances[1];
    offers[1].is_new = true;
    learning_choose(l, offers, 2, &rules, &s, a, &c);
    assert_true(c.chances[1] > 3 * known && c.chances[1] < .3);
    for (int i = 0; i < 100; i++) {
        decide(l, i, "n", 7);
        say(l, i, SOURCE_OPERATOR, i % 2);
    }
    learning_choose(l, offers, 2, &rules, &s, a, &c);
    double after = c.arms[1].deviation;
    offers[1].is_new = false;
    learning_choose(l, offers, 2, &rules, &s, a, &c);
    assert_true(after == c.arms[1].deviation);
    learning_free(l);
    arena_free(a);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outcome_counts_once_and_a_correction_replaces_it),
        cmocka_unit_test(partial_outcomes_count_in_part),
        cmocka_unit_test_setup(every_acknowledged_outcome_survives_kill_9, fresh),
        cmocka_unit_test_setup(a_purse_is_not_filled_by_a_kill, fresh),
        cmocka_unit_test_setup(purses_are_bounded_and_strange_ones_are_left_out, fresh),
        cmocka_unit_test_setup(a_torn_line_and_strange_lines_do_no_harm, fresh),
        cmocka_unit_test_setup(a_state_that_cannot_be_read_is_kept_aside, fresh),
        cmocka_unit_test_setup(a_state_of_version_1_is_read, fresh),
        cmocka_unit_test(instances_add_up_and_sending_twice_counts_once),
        cmocka_unit_test_setup(a_changed_model_is_forgotten_also_after_a_restart, fresh),
        cmocka_unit_test(the_judges_error_is_measured_once_a_decision_and_survives),
        cmocka_unit_test(a_failover_is_the_failure_of_one_and_the_answer_of_the_other),
        cmocka_unit_test(the_memory_is_bounded),
        cmocka_unit_test(sessions_come_and_go),
        cmocka_unit_test(a_newcomer_is_looked_at_until_enough_came_of_it),
        cmocka_unit_test(choices_and_chances_can_be_thrown_again),      /* by the default */
        cmocka_unit_test_prestate(choices_and_chances_can_be_thrown_again, (void *)(uintptr_t)evidence_all[1]),
        cmocka_unit_test_prestate(choices_and_chances_can_be_thrown_again, (void *)(uintptr_t)evidence_all[2]),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    fresh(NULL);
    return rc;
}
