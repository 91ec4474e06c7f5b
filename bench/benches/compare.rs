//! The one command: `cargo bench`. See README.md.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use clap::Parser as _;
use synod_bench::options::{self, Options, Plan};
use synod_bench::passes::{self, Grid};
use synod_bench::report::{self, HeapGrid};

fn main() -> ExitCode {
    match compare() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    if options.list {
        write!(io::stdout(), "{}", options::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = options.plan().unwrap_or_else(|error| error.exit());
    if let Some(code) = keep_memory()? {
        return Ok(code);
    }
    // A file that cannot be written should be known before an hour of measuring, not after it.
    let json = options
        .json
        .as_ref()
        .map(|path| fs::File::create(path).map_err(|e| format!("{}: {e}", path.display())));
    let json = json.transpose()?;

    let mut machines = Grid::new();
    let mut heap = HeapGrid::new();
    if !plan.machines.is_empty() {
        heap = count_allocations()?;
        machines = passes::machines(&plan, progress);
        progress(String::new());
        write!(
            io::stdout(),
            "{}",
            report::machine_tables(&plan, &machines, &heap)
        )?;
    }
    let mut services = Grid::new();
    if !plan.services.is_empty() {
        services = passes::services(&plan, progress);
        progress(String::new());
        write!(io::stdout(), "{}", report::service_tables(&plan, &services))?;
    }
    if let Some(mut file) = json {
        writeln!(
            file,
            "{}",
            report::json(&plan, &machines, &heap, &services)?
        )?;
    }
    legend(&plan)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts this program again so that it never gives memory back to the system, and tells its exit code; `None` in the
/// one that was started so.
///
/// Logs grow during a run. Whether their pages come fresh from the kernel would otherwise depend on what ran before,
/// and would cost those most who copy most; a log that is compacted now and then uses its memory again. The GNU C
/// library reads these variables at its start, others do not know them.
fn keep_memory() -> io::Result<Option<ExitCode>> {
    const VARIABLES: [(&str, &str); 2] = [
        ("MALLOC_TRIM_THRESHOLD_", "8589934592"),
        ("MALLOC_MMAP_THRESHOLD_", "33554432"),
    ];
    if VARIABLES
        .iter()
        .all(|(name, _)| env::var_os(name).is_some())
    {
        return Ok(None);
    }
    let status = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .envs(VARIABLES)
        .status()?;
    // A signal leaves no code.
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(Some(ExitCode::from(code)))
}

/// Runs the same plan in a process with a counting allocator.
fn count_allocations() -> Result<HeapGrid, Box<dyn Error>> {
    progress("counting allocations".to_owned());
    let output = Command::new(env!("CARGO_BIN_EXE_count"))
        .args(env::args_os().skip(1))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the counting process ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What is being measured, on one line that overwrites itself, only where somebody may look at it.
fn progress(what: String) {
    let mut err = io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{what}").and_then(|()| err.flush());
    }
}

fn legend(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let text = "
cpu ns: CPU time per entry, median of the passes; min: of the best pass; M/cpu-s: million entries per CPU second
(median); M/s: on the clock; allocs, bytes: from the heap per entry, the payload's own not counted; msgs: messages per
entry, all nodes; idle msgs: those sent only because nothing else was under way; × NAME: how many times the rate of
the best setting of NAME.
";
    let noraft = "noraft carries no payload.\n";
    let text = if plan
        .machines
        .iter()
        .any(|entrant| entrant.family == "noraft")
    {
        format!("{text}{noraft}")
    } else {
        text.to_owned()
    };
    write!(io::stdout(), "{text}")?;
    Ok(())
}
