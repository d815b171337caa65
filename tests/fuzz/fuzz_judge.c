/* tests/fuzz/fuzz_judge.c -- what a judge may say: a reward from 0 to 1, or a reason; and what it is asked holds each text once, between
 * marks that the texts do not know. */
#include <assert.h>
#include <stdlib.h>

#include "base/asking.h"
#include "select/judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct judge_conf conf = { .model = { "judge", 5 }, .timeout_seconds = 1 };
    str text = { (const char *)data, n };
    struct arena *a = arena_new();
    double reward = -1;
    const char *why = NULL;
    bool ok = judge_read(a, text, &reward, &why);
    assert(ok ? reward >= 0 && reward <= 1 && !why : why != NULL);
    str question = str_upto(text, n / 2), answer = str_from(text, n / 2);
    struct select_question q;
    judge_ask(&conf, n, question, answer, a, &q);
    assert(q.text.len <= JUDGE_QUESTION_MAX + JUDGE_ANSWER_MAX + 600);
    str mark = str_upto(str_from(q.text, sizeof "<<<question " - 1), ASKING_MARK);
    int lines = 0;
    for (str rest = q.text; rest.len; ) {
        long at = str_find(rest, mark);
        if (at < 0)
            break;
        lines++;
        rest = str_from(rest, (size_t)at + mark.len);
    }
    assert(lines == 4);                         /* two texts, each begun and ended once */
    judge_print(text, true);
    arena_free(a);
    return 0;
}
