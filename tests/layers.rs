//! The house of ARCHITECTURE.md: arrows only point down. Reads what each file of `src/` names of the crate (`use`, and
//! paths, in macros too; tests aside) and fails on a name from a higher floor, from another room of the same floor, or
//! in a circle of files.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemMod, UseTree};

/// The rooms, each with the paths in `src/` that it holds; floor by floor, from the ground up.
const FLOORS: &[&[(&str, &[&str])]] = &[
    &[("leaves", &["constants.rs", "error.rs", "handle.rs", "text.rs"])],
    &[("sys", &["sys/"])],
    &[("base", &["base/"])],
    &[("state", &["state/"])],
    &[("messages", &["messages.rs"])],
    &[("lock", &["lock/"]), ("transitions", &["transitions.rs"])],
    &[("view", &["view/"])],
    &[("foreign", &["foreign/"])],
    &[("report", &["report/"]), ("deadlock", &["deadlock/"]), ("order", &["order/"])],
    &[("host", &["host/"])],
    &[("win32", &["win32/"])],
    &[("ffi", &["ffi/"]), ("clr", &["clr/"])],
];

/// Files that stand outside: the map, and what explores and simulates the crate's own code.
const OUTSIDE: &[&str] = &[
    "lib.rs",
    "models/",
    "places.rs",
    "simulation/",
    "sys/model.rs",
    "sys/model/",
    "sys/sim.rs",
    "sys/sim/",
    "sys/stand_ins.rs",
];

/// Where a file stands: its floor and its room.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    floor: usize,
    room: &'static str,
}

fn place_of(file: &str) -> Option<Place> {
    let holds = |path: &&str| if path.ends_with('/') { file.starts_with(*path) } else { file == *path };
    for (floor, rooms) in FLOORS.iter().enumerate() {
        for (room, paths) in *rooms {
            if paths.iter().any(holds) {
                return Some(Place { floor, room });
            }
        }
    }
    None
}

/// What a file names: paths that begin with `crate`, as words.
#[derive(Default)]
struct Names {
    paths: BTreeSet<Vec<String>>,
}

impl Names {
    fn of_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |word: &syn::Ident| [before, &[word.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.of_tree(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.of_tree(tree, before)),
            UseTree::Name(name) => drop(self.paths.insert(with(&name.ident))),
            UseTree::Rename(rename) => drop(self.paths.insert(with(&rename.ident))),
            UseTree::Glob(_) => drop(self.paths.insert(before.to_vec())),
        }
    }

    /// Paths in the words of a macro.
    fn of_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    if matches!(word.as_str(), "crate" | "super")
                        && path.first().is_none_or(|first| first != "super")
                    {
                        path.clear();
                    }
                    path.push(word);
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => {}
                other => {
                    self.keep(std::mem::take(&mut path));
                    if let TokenTree::Group(group) = other {
                        self.of_tokens(group.stream());
                    }
                }
            }
        }
        self.keep(path);
    }

    fn keep(&mut self, path: Vec<String>) {
        if path.first().is_some_and(|first| first == "crate" || first == "super") {
            self.paths.insert(path);
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition.contains("test") && !condition.contains("not (test")
        }
        _ => false,
    })
}

impl<'a> Visit<'a> for Names {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    /// A module in a file: `super` there is the file itself.
    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        if module.content.is_some() {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_use_tree(&mut self, tree: &'a UseTree) {
        self.of_tree(tree, &[]);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.keep(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.of_tokens(called.tokens.clone());
    }
}

/// The source, as a tree of files.
struct House {
    /// What each file names: other files.
    arrows: BTreeMap<String, BTreeSet<String>>,
}

impl House {
    fn read(root: &Path) -> House {
        let mut files = Vec::new();
        find_sources(root, root, &mut files);
        let is_inside = |file: &&String| !OUTSIDE.iter().any(|outside| file.starts_with(outside));
        let mut arrows = BTreeMap::new();
        for file in files.iter().filter(is_inside) {
            let source = fs::read_to_string(root.join(file)).expect("a source");
            let tree = syn::parse_file(&source).expect("Rust");
            let mut names = Names::default();
            names.visit_file(&tree);
            let found = names.paths.iter().filter_map(|path| target_of(file, path, &files));
            arrows.insert(
                file.clone(),
                found.filter(|target| target != file).filter(|target| is_inside(&target)).collect(),
            );
        }
        House { arrows }
    }

    /// The files that can be reached from `file`.
    fn reached_from(&self, file: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut left = vec![&self.arrows[file]];
        while let Some(targets) = left.pop() {
            left.extend(
                targets
                    .iter()
                    .filter(|target| found.insert(target.as_str()))
                    .map(|target| &self.arrows[target]),
            );
        }
        found
    }
}

/// The file that a path of `file` leads to.
fn target_of(file: &str, path: &[String], files: &[String]) -> Option<String> {
    let mut module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if module.last() == Some(&"mod") {
        module.pop();
    }
    let mut words = path.iter().map(String::as_str).peekable();
    match *words.peek()? {
        "crate" => module = Vec::new(),
        "super" => {}
        _ => return None,
    }
    for word in words {
        match word {
            "crate" | "self" => {}
            "super" => drop(module.pop()),
            word => {
                module.push(word);
                if file_of(&module, files).is_none() {
                    module.pop();
                    break;
                }
            }
        }
    }
    file_of(&module, files)
}

fn file_of(module: &[&str], files: &[String]) -> Option<String> {
    let path = module.join("/");
    [format!("{path}.rs"), format!("{path}/mod.rs")].into_iter().find(|file| files.contains(file))
}

fn find_sources(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("src").map(|entry| entry.expect("src").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find_sources(root, &path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path.strip_prefix(root).expect("below").to_str().expect("a name").to_owned());
        }
    }
}

fn house() -> House {
    House::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn every_file_has_a_room() {
    for file in house().arrows.keys() {
        assert!(place_of(file).is_some(), "src/{file} stands in no room");
    }
}

#[test]
fn arrows_only_point_down() {
    let mut wrong = BTreeSet::new();
    for (file, targets) in &house().arrows {
        let from = place_of(file).expect("a room");
        for target in targets {
            let to = place_of(target).expect("a room");
            let goes_up = to.floor > from.floor || to.floor == from.floor && to.room != from.room;
            if goes_up {
                wrong.insert(format!("{file} ({}) -> {target} ({})", from.room, to.room));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up: {wrong:#?}");
}

/// What may be read of a copy of another process's memory is said in `base` and `state`, as `impl Shown<…>`.
#[test]
fn rooms_above_state_do_not_read_the_fields_of_what_is_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in house().arrows.keys() {
        let source = fs::read_to_string(root.join(file)).expect("a source");
        let may = file.starts_with("base/") || file.starts_with("state/");
        assert!(may || !source.contains(".fields()"), "src/{file}");
    }
}

#[test]
fn no_files_stand_in_a_circle() {
    let house = house();
    let mut circles: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for file in house.arrows.keys() {
        let reached = house.reached_from(file);
        let circle: BTreeSet<&str> =
            reached.into_iter().filter(|other| house.reached_from(other).contains(file.as_str())).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

/// The numbered lines of "A contended enter" name a file and functions of it; six files, one of them opened twice.
#[test]
fn the_way_of_a_contended_enter_is_as_architecture_md_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let from = page.split("## A contended enter").nth(1).expect("the way of a contended enter");
    let way =
        from.split("\n## ").next().expect("its lines").split("\n\n").nth(2).expect("the numbered lines");
    let mut opened: Vec<&str> = Vec::new();
    let mut source = String::new();
    for name in way.split('`').skip(1).step_by(2) {
        if name.contains('.') {
            opened.push(name);
            source = fs::read_to_string(root.join(name)).expect(name);
        } else {
            assert!(source.contains(&format!("{name}(")), "{name} is not in {:?}", opened.last());
        }
    }
    assert_eq!(opened.last(), Some(&"src/sys/linux.rs"));
    let files: BTreeSet<&str> = opened.iter().copied().collect();
    assert_eq!(
        (files.len(), opened.len() - files.len()),
        (6, 1),
        "files, and times that one is opened again"
    );
}
