//! The runner's teeth: what must not pass does not.

use crate::story::{Mode, tell};

const STORY: &str = "\
# One node is a cluster.
start a
quietly timeout a
> a: asks whether it would win term 1
> a: stands for election in term 1
> a: leader in term 1 (won the election)
> a: committed 1@1
expect a leads term 1
";

fn check(text: &str) -> Result<String, String> {
    tell("story.txt", text, Mode::Check, |builder| builder)
}

fn failure(text: &str) -> String {
    check(text).expect_err("this story must fail")
}

#[test]
fn a_story_that_is_right_passes_and_is_not_rewritten() {
    assert_eq!(check(STORY), Ok(STORY.to_owned()));
    let rewritten = tell("story.txt", STORY, Mode::Rewrite, |builder| builder);
    assert_eq!(rewritten, Ok(STORY.to_owned()));
}

#[test]
fn what_was_said_otherwise_is_shown_beside_what_is_said() {
    let why = failure(&STORY.replace("committed 1@1", "committed 2@1"));
    assert!(why.starts_with("story.txt:3: quietly timeout a\n"), "{why}");
    assert!(
        why.contains("\n    - a: committed 2@1\n    + a: committed 1@1\n"),
        "{why}"
    );
    assert!(
        why.contains("\n      a: stands for election in term 1\n"),
        "{why}"
    );
}

#[test]
fn a_missing_and_a_surplus_line_are_differences() {
    failure(&STORY.replace("> a: committed 1@1\n", ""));
    failure(&STORY.replace(
        "> a: committed 1@1\n",
        "> a: committed 1@1\n> a: committed 2@1\n",
    ));
    failure(&STORY.replace("start a\n", "start a\n> a: starts\n"));
}

#[test]
fn an_expectation_that_is_wrong_fails_and_is_not_rewritten() {
    let wrong = [
        ("a leads term 1", "a leads term 2"),
        ("a leads term 1", "a follows nobody in term 1"),
        ("a leads term 1", "a holds 1 1"),
        ("a leads term 1", "a holds nothing"),
        ("a leads term 1", "a committed 0"),
        ("a leads term 1", "a applied x"),
        ("a leads term 1", "a learners a"),
        ("a leads term 1", "a voters nobody"),
        ("a leads term 1", "a snapshot 1"),
        ("a leads term 1", "a term 2"),
        ("a leads term 1", "a is stopped"),
        ("a leads term 1", "x done at 1"),
        ("a leads term 1", "a shines"),
        ("a leads term 1", "a"),
        (
            "expect a leads term 1",
            "propose x at a\n> a stores 2@1:x\nexpect x unanswered",
        ),
    ];
    for (right, wrong) in wrong {
        let text = STORY.replace(right, wrong);
        for mode in [Mode::Check, Mode::Rewrite] {
            let why = tell("story.txt", &text, mode, |builder| builder).unwrap_err();
            assert!(why.starts_with("story.txt:"), "{why}");
        }
    }
}

#[test]
fn a_story_without_an_expected_part_fails() {
    let bare: String = STORY
        .lines()
        .filter(|line| !line.starts_with('>'))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(failure(&bare).contains("SYNOD_REGENERATE=1"));
    let rewritten = tell("story.txt", &bare, Mode::Rewrite, |builder| builder);
    assert_eq!(rewritten, Ok(STORY.to_owned()));
}

#[test]
fn a_story_without_a_claim_fails() {
    let why = failure(&STORY.replace("expect a leads term 1\n", ""));
    assert!(why.contains("claims nothing"), "{why}");
    let why = failure("start a\nexpect a holds nothing\n");
    assert!(why.contains("nothing is said"), "{why}");
}

#[test]
fn what_is_not_a_command_is_an_error_with_its_place() {
    let wrong = [
        "dance a",
        "crash b",
        "crash",
        "crash a keeping 1",
        "crash a keeping some",
        "elect a",
        "deliver a -> a",
        "deliver a -> * hearsay",
        "drop * -> *",
        "late a -> a",
        "step",
        "sync a",
        "restart a",
        "back to yesterday",
        "run 5",
        "run many ms",
        "start a",
        "read r at a by guess",
        "propose a at a",
        "snapshot a through 7",
    ];
    for command in wrong {
        let why = failure(&STORY.replace("expect a leads", &format!("{command}\nexpect a leads")));
        let place = format!("story.txt:8: {command}\n    ");
        assert!(why.starts_with(&place) && why.len() > place.len(), "{why}");
    }
    assert!(failure(&STORY.replace("start a\n", "")).starts_with("story.txt:2: "));
    assert!(failure(&STORY.replace("start a\n", "start\n")).starts_with("story.txt:2: "));
    let stray = STORY.replace("start a\n", "> hello\nstart a\n");
    assert!(failure(&stray).starts_with("story.txt:2: "));
}
