"""Solutions of R1-own-memory. A test puts each behind its stub and runs it there."""

# %% r1.ex1
airust.check("r1.ex1", "E0382")

# %% r1.ex2
answer = """
fn length(text: &str) -> usize { text.len() }

let name = String::from("weights");
println!("{name} {}", length(&name));
println!("{name}");
"""
airust.check("r1.ex2", answer)

# %% r1.ex3
answer = """
let view;
{
    let value = 1;
    view = &value;
}
println!("{view}");
"""
airust.check("r1.ex3", answer)

# %% r1.ex4
answer = """
fn before<'a>(text: &'a str, mark: &str) -> &'a str {
    match text.split_once(mark) {
        Some((head, _)) => head,
        None => text,
    }
}
"""
airust.check("r1.ex4", answer)

# %% r1.ex5
answer = """
struct Bf16;

impl Dtype for Bf16 {
    const SIZE: usize = 2;
    fn read(bytes: &[u8]) -> f32 {
        f32::from_bits((u16::from_le_bytes([bytes[0], bytes[1]]) as u32) << 16)
    }
}
"""
airust.check("r1.ex5", answer)

# %% r1.ex6
answer = """
fn split(file: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (head, rest) = file.split_first_chunk::<8>().ok_or("too short")?;
    let length = usize::try_from(u64::from_le_bytes(*head)).map_err(|e| e.to_string())?;
    rest.split_at_checked(length).ok_or("the header is longer than the file".to_string())
}
"""
airust.check("r1.ex6", answer)
