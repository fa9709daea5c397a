//! Hands arguments and environment over, and ends with the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    let environment = std::env::vars_os().collect();
    ExitCode::from(ouroboros::app::invoke(&arguments, environment))
}
