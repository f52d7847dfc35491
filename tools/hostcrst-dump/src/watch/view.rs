//! What is on the screen, and what keys do. It knows snapshots, and neither how they are made nor which terminal it is.

use std::collections::HashMap;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};

use super::snapshot::{Snapshot, Thread};

const KEYS: &str = "q quit   up/down select   w only those that wait   p pause   + new  ~ changed  - over";
/// Of a chain, so many threads are shown.
const LONGEST_CHAIN: usize = 16;
const MOST_VERDICT_LINES: usize = 4;
const PAGE: isize = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    GoOn,
    Quit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    None,
    New,
    Changed,
    /// The thread has ended; it is shown once more.
    Over,
}

pub struct View {
    title: String,
    reports: u64,
    verdict: Vec<String>,
    deadlock: Option<bool>,
    threads: Vec<(Thread, Change)>,
    /// Where each stands in `threads`, by its id.
    places: HashMap<u64, usize>,
    /// The id of a thread.
    selected: Option<u64>,
    only_waiting: bool,
    is_paused: bool,
}

impl View {
    pub fn new(title: &str) -> View {
        View {
            title: title.to_owned(),
            reports: 0,
            verdict: Vec::new(),
            deadlock: None,
            threads: Vec::new(),
            places: HashMap::new(),
            selected: None,
            only_waiting: false,
            is_paused: false,
        }
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Takes the next report, and finds what has changed since the last one.
    pub fn show(&mut self, snapshot: Snapshot) {
        let is_first = self.reports == 0;
        let last = self.threads.drain(..).filter(|(_, change)| *change != Change::Over);
        let mut before: HashMap<u64, Thread> = last.map(|(thread, _)| (thread.id, thread)).collect();
        let change = |thread: Thread| {
            let change = match before.remove(&thread.id) {
                _ if is_first => Change::None,
                None => Change::New,
                Some(before) if thread.differs_from(&before) => Change::Changed,
                Some(_) => Change::None,
            };
            (thread, change)
        };
        self.threads = snapshot.threads.into_iter().map(change).collect();
        self.threads.extend(before.into_values().map(|thread| (thread, Change::Over)));
        // Threads of a cycle stand still; all others keep their order, so that rows do not jump.
        self.threads.sort_by_key(|(thread, _)| (thread.deadlock.is_none(), thread.id));
        let ids = self.threads.iter().map(|(thread, _)| thread.id);
        self.places = ids.enumerate().map(|(place, id)| (id, place)).collect();
        self.verdict = snapshot.verdict;
        self.deadlock = snapshot.deadlock;
        self.reports += 1;
        self.keep_selection();
    }

    pub fn press(&mut self, key: KeyCode, modifiers: KeyModifiers) -> Flow {
        match key {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return Flow::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Flow::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.select_by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.select_by(1),
            KeyCode::PageUp => self.select_by(-PAGE),
            KeyCode::PageDown => self.select_by(PAGE),
            KeyCode::Home => self.select_by(isize::MIN),
            KeyCode::End => self.select_by(isize::MAX),
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('w') => {
                self.only_waiting = !self.only_waiting;
                self.keep_selection();
            }
            _ => {}
        }
        Flow::GoOn
    }

    // ---- which rows there are ----

    fn shown(&self) -> impl Iterator<Item = &(Thread, Change)> {
        self.threads.iter().filter(|(thread, _)| !self.only_waiting || thread.wait.is_some())
    }

    fn place_of_selected(&self) -> Option<usize> {
        self.shown().position(|(thread, _)| Some(thread.id) == self.selected)
    }

    fn select_by(&mut self, steps: isize) {
        let last = self.shown().count().saturating_sub(1);
        let place = self.place_of_selected().unwrap_or(0).saturating_add_signed(steps).min(last);
        self.select(place);
    }

    fn select(&mut self, place: usize) {
        let id = self.shown().nth(place).map(|(thread, _)| thread.id);
        self.selected = id;
    }

    /// Selects the first row if what was selected is gone.
    fn keep_selection(&mut self) {
        if self.place_of_selected().is_none() {
            self.select(0);
        }
    }

    fn thread(&self, id: u64) -> Option<&Thread> {
        self.places.get(&id).and_then(|&place| self.threads.get(place)).map(|(thread, _)| thread)
    }

    /// The selected thread, whom it waits for, whom that one waits for, and so on.
    fn chain(&self) -> Vec<String> {
        let mut passed = Vec::new();
        let mut lines = Vec::new();
        let mut next = self.selected.and_then(|id| self.thread(id));
        while let Some(thread) = next.filter(|_| passed.len() < LONGEST_CHAIN) {
            if passed.contains(&thread.id) {
                let what = match thread.deadlock {
                    Some(true) => "a deadlock",
                    Some(false) => "probably a deadlock",
                    None => "a circle that does not stand",
                };
                lines.push(format!("which is {}, again: {what}", thread.full_name()));
                return lines;
            }
            passed.push(thread.id);
            let does = match &thread.wait {
                Some(_) => format!(": waits for {}", thread.does),
                None if thread.does.is_empty() => String::new(),
                None => format!(": {}", thread.does),
            };
            let owned_by = if lines.is_empty() { "" } else { "of " };
            lines.push(format!("{owned_by}{} [{}]{does}", thread.full_name(), thread.state));
            next = thread.wait.as_ref().and_then(|wait| wait.owner).and_then(|owner| self.thread(owner));
        }
        if next.is_some() {
            lines.push("and so on".to_owned());
        }
        lines
    }

    // ---- the screen ----

    pub fn draw(&self, frame: &mut Frame<'_>) {
        let chain = self.chain();
        let verdict = self.verdict.len().clamp(1, MOST_VERDICT_LINES) as u16;
        let most = frame.area().height / 3;
        let heights = [
            Constraint::Length(1),
            Constraint::Length(verdict),
            Constraint::Min(3),
            Constraint::Length((chain.len() as u16).saturating_add(1).min(most)),
            Constraint::Length(1),
        ];
        let [title, verdict, table, below, keys] = Layout::vertical(heights).areas(frame.area());
        let paused = if self.is_paused { ", paused" } else { "" };
        frame.render_widget(Line::raw(format!("{}  report {}{paused}", self.title, self.reports)), title);
        let lines: Vec<_> = self.verdict.iter().map(|line| Line::raw(line.as_str())).collect();
        frame.render_widget(Paragraph::new(lines).style(color_of(self.deadlock)), verdict);
        self.draw_table(frame, table);
        let heading = Block::new().borders(Borders::TOP).title("Chain of the selected thread");
        let chain: Vec<_> = chain.into_iter().map(Line::raw).collect();
        frame.render_widget(Paragraph::new(chain).block(heading), below);
        frame.render_widget(Line::styled(KEYS, Modifier::REVERSED), keys);
    }

    fn draw_table(&self, frame: &mut Frame<'_>, area: Rect) {
        let widths = [
            Constraint::Length(1),
            Constraint::Length(16),
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Fill(3),
            Constraint::Fill(2),
            Constraint::Length(9),
        ];
        let heading = Row::new(["", "thread", "tid", "state", "waits for, or does", "owned by", "for"]);
        let rows = self.shown().map(|(thread, change)| self.row(thread, *change));
        let table = Table::new(rows, widths)
            .header(heading.style(Modifier::BOLD))
            .row_highlight_style(Modifier::REVERSED);
        let mut state = TableState::new().with_selected(self.place_of_selected());
        frame.render_stateful_widget(table, area, &mut state);
    }

    fn row(&self, thread: &Thread, change: Change) -> Row<'_> {
        let wait = thread.wait.as_ref();
        let owner = wait.and_then(|wait| wait.owner).map(|id| match self.thread(id) {
            Some(owner) => owner.full_name(),
            None => format!("tid={id}"),
        });
        let since = wait.and_then(|wait| wait.since).map(|since| format!("{:.1} s", since.as_secs_f64()));
        let (mark, style) = match change {
            Change::None => ("", color_of(thread.deadlock)),
            Change::New => ("+", Style::new().fg(Color::Green).add_modifier(Modifier::BOLD)),
            Change::Changed => ("~", color_of(thread.deadlock).add_modifier(Modifier::BOLD)),
            Change::Over => ("-", Style::new().add_modifier(Modifier::DIM | Modifier::CROSSED_OUT)),
        };
        let cells = [
            mark.to_owned(),
            thread.name.clone(),
            thread.id.to_string(),
            thread.state.clone(),
            thread.does.clone(),
            owner.unwrap_or_default(),
            since.unwrap_or_default(),
        ];
        Row::new(cells.map(Cell::new)).style(style)
    }
}

/// Red for a deadlock, yellow for a probable one.
fn color_of(deadlock: Option<bool>) -> Style {
    match deadlock {
        Some(true) => Style::new().fg(Color::Red),
        Some(false) => Style::new().fg(Color::Yellow),
        None => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::thread;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn snapshot(threads: Vec<Thread>) -> Snapshot {
        Snapshot { verdict: vec!["Found 1 deadlock.".to_owned()], deadlock: Some(true), threads }
    }

    /// What a terminal of 100 columns shows.
    fn screen(view: &View, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    /// The line with this in it.
    #[track_caller]
    fn line(screen: &str, part: &str) -> String {
        screen
            .lines()
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("no {part} in\n{screen}"))
            .to_owned()
    }

    fn two_in_a_circle() -> Vec<Thread> {
        let mut threads = vec![
            thread(5, "idle", "read from fd 0", None),
            thread(7, "sell", "section \"stock\"", Some(8)),
            thread(8, "restock", "section \"orders\"", Some(7)),
        ];
        threads[1].deadlock = Some(true);
        threads[2].deadlock = Some(true);
        threads
    }

    fn pressed(view: &mut View, key: KeyCode) -> Flow {
        view.press(key, KeyModifiers::NONE)
    }

    #[test]
    fn threads_the_verdict_the_chain_and_the_keys_are_shown() {
        let mut view = View::new("hostcrst-dump 123");
        view.show(snapshot(two_in_a_circle()));
        let shown = screen(&view, 20);
        assert!(line(&shown, "hostcrst-dump 123").contains("report 1"), "{shown}");
        line(&shown, "Found 1 deadlock.");
        let row = line(&shown, "sell             7        blocked");
        assert!(
            row.contains("section \"stock\"") && row.contains("\"restock\" tid=8") && row.contains("1.5 s"),
            "{row}"
        );
        line(&shown, "\"sell\" tid=7 [blocked]: waits for section \"stock\"");
        line(&shown, "of \"restock\" tid=8 [blocked]: waits for section \"orders\"");
        line(&shown, "which is \"sell\" tid=7, again: a deadlock");
        assert!(shown.lines().last().unwrap().contains("q quit"), "{shown}");
    }

    #[test]
    fn what_is_new_changed_or_over_is_marked_once() {
        let mut view = View::new("");
        view.show(snapshot(two_in_a_circle()));
        let mut threads = two_in_a_circle();
        threads.remove(0);
        threads[0].does = "section \"shop\"".to_owned();
        threads.push(thread(9, "fresh", "read", None));
        view.show(snapshot(threads.clone()));
        let shown = screen(&view, 20);
        for (name, mark) in [("idle ", "\"-"), ("sell ", "\"~"), ("restock  ", "\" "), ("fresh ", "\"+")] {
            assert!(line(&shown, name).starts_with(mark), "{name} is not marked {mark} in\n{shown}");
        }
        view.show(snapshot(threads));
        let shown = screen(&view, 20);
        assert!(!shown.contains("idle"), "{shown}");
        assert!(line(&shown, "fresh ").starts_with("\" "), "{shown}");
    }

    #[test]
    fn the_selection_moves_and_stays_with_its_thread() {
        let mut view = View::new("");
        view.show(snapshot(two_in_a_circle()));
        assert_eq!(view.selected, Some(7));
        pressed(&mut view, KeyCode::End);
        assert_eq!(view.selected, Some(5));
        line(&screen(&view, 20), "\"idle\" tid=5 [blocked]: read from fd 0");
        pressed(&mut view, KeyCode::Down);
        assert_eq!(view.selected, Some(5));
        let mut threads = two_in_a_circle();
        threads.insert(0, thread(2, "first", "", None));
        view.show(snapshot(threads));
        assert_eq!(view.selected, Some(5));
        pressed(&mut view, KeyCode::Char('w'));
        let shown = screen(&view, 20);
        assert!(!shown.contains("idle") && view.selected == Some(7), "{shown}");
        pressed(&mut view, KeyCode::Home);
        pressed(&mut view, KeyCode::Down);
        assert_eq!(view.selected, Some(8));
        view.show(snapshot(Vec::new()));
        view.show(snapshot(Vec::new()));
        assert_eq!(view.selected, None);
        pressed(&mut view, KeyCode::Up);
    }

    #[test]
    fn keys_pause_and_quit() {
        let mut view = View::new("");
        pressed(&mut view, KeyCode::Char('p'));
        assert!(view.is_paused() && screen(&view, 10).contains("paused"));
        pressed(&mut view, KeyCode::Char('p'));
        assert!(!view.is_paused());
        assert_eq!(pressed(&mut view, KeyCode::Char('c')), Flow::GoOn);
        assert_eq!(view.press(KeyCode::Char('c'), KeyModifiers::CONTROL), Flow::Quit);
        assert_eq!(
            (pressed(&mut view, KeyCode::Esc), pressed(&mut view, KeyCode::Char('q'))),
            (Flow::Quit, Flow::Quit)
        );
    }

    #[test]
    fn a_terminal_of_any_size_will_do() {
        let mut view = View::new("");
        view.show(snapshot(
            (0..1000).map(|id| thread(id, "many", "section", Some((id + 1) % 1000))).collect(),
        ));
        pressed(&mut view, KeyCode::End);
        for height in 1..30 {
            screen(&view, height);
        }
        line(&screen(&view, 80), "and so on");
    }
}
