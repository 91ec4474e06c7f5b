//! What this machine permits: found out by doing it.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Completion, Failed};

use crate::trial::{self, INTERRUPTED, Place, Settings, Spec};

/// What makes this program the process inside of a namespace: its argument, before a trial's name.
pub(crate) const INSIDE: &str = "--inside";

/// What that process says once it has what it needs.
const READY: &str = "the machine permits it";

/// Mounts a file system of so many MiB.
pub(crate) fn mount(place: &Path, mebibytes: u64) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", place.display());
    std::fs::create_dir_all(place).map_err(told)?;
    let size = format!("size={mebibytes}m");
    let output = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(place)
        .output();
    let output = output.map_err(|error| format!("mount: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("cannot mount a tmpfs: {}", why.trim()))
}

/// Undoes [`mount`]; at the latest, it goes with our namespace.
pub(crate) fn unmount(place: &Path) {
    let _gone_later = Command::new("umount")
        .arg(place)
        .stderr(Stdio::null())
        .status();
}

/// Whether a process can be traced: one whose first sync is said to fail.
pub(crate) fn may_trace() -> Result<(), String> {
    let output = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o", "/dev/null"])
        .args(["-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1"])
        .args(["sync", env!("CARGO_MANIFEST_DIR")])
        .env("LC_ALL", "C")
        .output();
    let output = output.map_err(|error| format!("no strace: {error}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    if why.contains("Input/output error") {
        return Ok(());
    }
    Err(format!("cannot trace: {}", why.trim()))
}

/// Runs a trial in namespaces of its own, as root of the system or of a namespace of users.
pub(crate) fn run_inside(spec: &Spec, settings: Settings) -> Result<Completion, Failed> {
    let mut why = String::new();
    let own: &[&str] = match spec.place {
        Place::Namespaces => &["--mount", "--net"],
        Place::Disks | Place::Loopback | Place::Proxies => &["--mount"],
    };
    for users in [&[][..], &["--user", "--map-root-user"]] {
        let mut command = Command::new("unshare");
        command.args(own).args(users).arg("--");
        command
            .arg(std::env::current_exe()?)
            .args([INSIDE, spec.name]);
        command.env("SYNOD_SEED", settings.seed.to_string());
        command.env("SYNOD_SECONDS", settings.seconds.to_string());
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Completion::ignored_with(format!("no unshare: {error}"))),
        };
        // It ends when this does: by our end, or by our wish.
        let held = child.stdin.take();
        std::thread::spawn(move || {
            while !INTERRUPTED.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(held);
        });
        let output = child.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        let Some(told) = told.strip_prefix(READY) else {
            why = format!("{}{}", told.trim(), complained.trim()).replace('\n', "; ");
            continue;
        };
        say(told);
        if output.status.success() {
            return Ok(Completion::Completed);
        }
        return Err(complained.into());
    }
    Ok(Completion::ignored_with(why))
}

/// The other side of [`run_inside`].
pub(crate) fn inside(spec: &Spec, settings: Settings) -> Result<(), String> {
    std::thread::spawn(|| {
        let _either_way = std::io::stdin().read_to_end(&mut Vec::new());
        INTERRUPTED.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    match spec.place {
        Place::Namespaces => crate::network::set_up(spec.nodes)?,
        Place::Disks | Place::Loopback | Place::Proxies => {
            let place = tempfile::tempdir().map_err(|error| error.to_string())?;
            mount(place.path(), 1)?;
            unmount(place.path());
        }
    }
    say(READY);
    let judged = trial::run(spec, settings, &[])?;
    say(&judged.summary);
    Ok(())
}

/// On standard error.
pub(crate) fn complain(what: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{what}");
}

/// On standard output, in one piece: other trials speak, too.
pub(crate) fn say(what: &str) {
    let line = format!("{}\n", what.trim_end());
    let _nobody_listens = std::io::stdout().write_all(line.as_bytes());
}
