//! The arraybench command.
fn main() {}
