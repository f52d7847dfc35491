//! Names of code that a runtime has made, such as .NET's just-in-time compiler: from the map that it writes for `perf`, a line
//! for each function. Does not know where such a map lies.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;

/// A larger map is read up to here.
const LARGEST: u64 = 128 << 20;
/// Memory is used again for other code, so functions may overlap: this many before an address are considered.
const OVERLAPPING: usize = 16;

/// By address; of two functions that begin at the same one, the later comes last.
pub struct PerfMap(Vec<Function>);

struct Function {
    start: u64,
    size: u64,
    /// The number of its line: the later a line, the later its code was made.
    line: usize,
    name: String,
}

impl PerfMap {
    pub fn read(file: File) -> Option<PerfMap> {
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).ok()?;
        Some(PerfMap::parse(&text))
    }

    fn parse(text: &[u8]) -> PerfMap {
        // .NET 8 ends some of its lines with a zero.
        let lines = text.split(|byte| matches!(byte, b'\n' | 0)).enumerate();
        let mut functions: Vec<_> =
            lines.filter_map(|(line, text)| Function::parse(line, &String::from_utf8_lossy(text))).collect();
        functions.sort_by_key(|function| (function.start, function.line));
        PerfMap(functions)
    }

    /// The function that the address lies in, and how far behind its beginning.
    pub fn find(&self, address: u64) -> Option<(Cow<'_, str>, u64)> {
        let after = self.0.partition_point(|function| function.start <= address);
        let before = self.0[..after].iter().rev().take(OVERLAPPING);
        let around = before.filter(|function| address - function.start < function.size);
        let function = around.max_by_key(|function| function.line)?;
        Some((shown(&function.name), address - function.start))
    }
}

impl Function {
    /// `7f4119438380 4ef name`, the numbers in base 16, with 0x or without.
    fn parse(line: usize, text: &str) -> Option<Function> {
        let mut parts = text.splitn(3, ' ');
        let mut number = || {
            let digits = parts.next()?;
            u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
        };
        let (start, size) = (number()?, number()?);
        Some(Function { start, size, line, name: parts.next()?.to_string() })
    }
}

/// A name as people write it: of a .NET method, `Namespace.Class.Method(…)`. .NET writes
/// `instance void [Assembly] Namespace.Class::Method(int32)[Tier0]`.
fn shown(name: &str) -> Cow<'_, str> {
    dotnet_method(name).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn dotnet_method(name: &str) -> Option<String> {
    let (head, parameters) = name.split_once('(')?;
    let (class, method) = head.rsplit_once("::")?;
    let (_, class) = class.rsplit_once("] ")?;
    let parameters = if parameters.starts_with(')') { "()" } else { "(…)" };
    Some(format!("{class}.{method}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(map: &PerfMap, address: u64) -> Option<(String, u64)> {
        map.find(address).map(|(name, offset)| (name.into_owned(), offset))
    }

    #[test]
    fn a_function_is_found_by_each_of_its_addresses() {
        let map = PerfMap::parse(
            b"2000 10 second\nno line\n1000 20 first of two\n0x3000 8 third\x004000 1 a\n5000 2",
        );
        assert_eq!(found(&map, 0x1000), Some(("first of two".into(), 0)));
        assert_eq!(found(&map, 0x101f), Some(("first of two".into(), 0x1f)));
        assert_eq!(found(&map, 0x2008), Some(("second".into(), 8)));
        assert_eq!(found(&map, 0x3007), Some(("third".into(), 7)));
        assert_eq!(found(&map, 0x4000), Some(("a".into(), 0)));
        for nowhere in [0, 0xfff, 0x1020, 0x2010, 0x3008, 0x5000, u64::MAX] {
            assert_eq!(found(&map, nowhere), None, "{nowhere:x}");
        }
    }

    #[test]
    fn of_code_that_took_the_place_of_other_code_the_later_is_found() {
        let map = PerfMap::parse(b"1000 100 old\n1040 10 new\n1000 30 newest\n");
        assert_eq!(found(&map, 0x1010), Some(("newest".into(), 0x10)));
        assert_eq!(found(&map, 0x1045), Some(("new".into(), 5)));
        assert_eq!(found(&map, 0x1035), Some(("old".into(), 0x35)));
    }

    #[test]
    fn a_method_of_dotnet_is_named_as_its_source_names_it() {
        for (written, name) in [
            ("void [Shop] Shop::Sell()[QuickJitted]", "Shop.Sell()"),
            ("instance int32 [Shop] Space.Outer+Inner::Run(int32,string)[Tier0]", "Space.Outer+Inner.Run(…)"),
            ("string[] [Shop] Shop::Names(string[])[PreJIT]", "Shop.Names(…)"),
            (
                "instance void [CoreLib] A.Dictionary`2[System.__Canon,int32]::.ctor()",
                "A.Dictionary`2[System.__Canon,int32]..ctor()",
            ),
            (
                "int32 [Shop] dynamicClass::IL_STUB_PInvoke(uint64,int32)[Optimized]",
                "dynamicClass.IL_STUB_PInvoke(…)",
            ),
            (
                "stub<648> AllocateTemporaryEntryPoints<PRECODE_STUB>",
                "stub<648> AllocateTemporaryEntryPoints<PRECODE_STUB>",
            ),
            ("LazyCompile:~read node:fs:12", "LazyCompile:~read node:fs:12"),
            ("std::run(int)", "std::run(int)"),
        ] {
            assert_eq!(shown(written), name);
        }
    }
}
