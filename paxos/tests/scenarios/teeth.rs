//! The runner's teeth: what must not pass does not.

use crate::story::{Mode, tell};

const STORY: &str = "\
# One acceptor is a majority of one.
start acceptors X proposers A
quietly propose 8 at A
> A opens 2.A
quietly settle
> A learns 8
> A its client has won
expect A learned 8
";

fn failure(text: &str) -> String {
    tell("story.txt", text, Mode::Check, None).expect_err("this story must fail")
}

#[test]
fn a_story_that_is_right_passes_and_is_not_rewritten() {
    for mode in [Mode::Check, Mode::Rewrite] {
        assert_eq!(tell("story.txt", STORY, mode, None), Ok(STORY.to_owned()));
    }
}

#[test]
fn differences_are_shown() {
    let why = failure(&STORY.replace("> A learns 8", "> A learns 9"));
    assert!(why.starts_with("story.txt:5: quietly settle\n"), "{why}");
    assert!(
        why.contains("    - A learns 9\n") && why.contains("    + A learns 8\n"),
        "{why}"
    );
    failure(&STORY.replace("> A learns 8\n", ""));
    failure(&STORY.replace("> A learns 8\n", "> A learns 8\n> A learns 8\n"));
}

#[test]
fn wrong_claims_fail_and_are_not_rewritten() {
    for wrong in [
        "A learned 9",
        "A learned nothing",
        "A voted 8 in 2.A",
        "X voted nothing",
        "X promised 4.A",
        "A is preparing 2.A",
        "A shines",
        "A",
        "learned 8",
    ] {
        let text = STORY.replace("A learned 8", wrong);
        for mode in [Mode::Check, Mode::Rewrite] {
            assert!(tell("story.txt", &text, mode, None).is_err(), "{wrong}");
        }
    }
}

#[test]
fn what_is_no_story_is_an_error_with_its_place() {
    assert!(failure(&STORY.replace("expect A learned 8\n", "")).contains("claims nothing"));
    let bare: String = STORY
        .lines()
        .filter(|line| !line.starts_with('>'))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(failure(&bare).contains("SYNOD_REGENERATE=1"));
    for command in [
        "dance A",
        "deliver A -> X",
        "deliver A",
        "drop * -> *",
        "wake X",
        "sync A",
        "restart A",
        "crash B",
        "crash A keeping some",
        "back to yesterday",
        "propose 9 at X",
        "start acceptors X proposers A",
    ] {
        let why = failure(&STORY.replace("expect", &format!("{command}\nexpect")));
        assert!(
            why.starts_with(&format!("story.txt:8: {command}\n")),
            "{why}"
        );
    }
    assert!(failure(&STORY.replace("start acceptors X proposers A\n", "")).contains(":2: "));
    assert!(failure(&format!("> hello\n{STORY}")).starts_with("story.txt:1: "));
}
