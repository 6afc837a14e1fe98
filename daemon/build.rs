//! Tells the linker which code of the released program goes together: what a box that keeps photos runs (`daily.ld`). The kernel maps a program in
//! pieces of 64 KiB around what is touched; where such code lies scattered over all of it, nearly all of it is in memory.

fn main() {
    println!("cargo::rerun-if-changed=daily.ld");
    let is_released = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if let (true, Ok(folder)) = (is_released, std::env::var("CARGO_MANIFEST_DIR")) {
        // Both GNU's linker and LLVM's know it.
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/daily.ld");
    }
}
