//! `--watch` on a terminal: a screen of threads and their waits, in which what changes stands out.
//!
//! ```text
//!   mod          when a report is made, when a key is read; the terminal is given back however it ends
//!    │
//!   view         what is on the screen; what keys do
//!    │
//!   snapshot     what one report says of each thread
//! ```

mod snapshot;
mod view;

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::{cursor, execute};

use crate::failure::Failure;
use crate::report::Sight;
use snapshot::Snapshot;
use view::{Flow, View};

/// How long a signal may wait.
const MOST_WAIT: Duration = Duration::from_millis(100);

/// Whether there is a terminal on which a view can be shown.
pub fn can_show() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    !is_dumb && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Shows what `look` sees, anew every so often, until a key or `is_interrupted` ends it. Whether a deadlock stands in what was
/// seen last.
pub fn run(
    title: &str,
    pause: Duration,
    mut look: impl FnMut() -> Result<Sight, Failure>,
    mut is_interrupted: impl FnMut() -> bool,
) -> Result<bool, Failure> {
    let mut screen = Screen::open()?;
    let mut view = View::new(title);
    loop {
        let Sight { verdict, json, deadlock } = look()?;
        let deadlock = deadlock?;
        view.show(Snapshot::of(&verdict, &json));
        let next = Instant::now() + pause;
        loop {
            screen.0.draw(|frame| view.draw(frame))?;
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() && !view.is_paused() {
                break;
            }
            let wait = if view.is_paused() { MOST_WAIT } else { left.min(MOST_WAIT) };
            let flow = if event::poll(wait)? { react(&mut view, &event::read()?) } else { Flow::GoOn };
            if flow == Flow::Quit || is_interrupted() {
                return Ok(deadlock);
            }
        }
    }
}

fn react(view: &mut View, event: &Event) -> Flow {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => view.press(key.code, key.modifiers),
        _ => Flow::GoOn,
    }
}

/// The terminal, as a screen of its own, until dropped or until a panic.
pub struct Screen(DefaultTerminal);

impl Screen {
    pub fn open() -> io::Result<Screen> {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            next(panic);
        }));
        IS_TAKEN.store(true, Ordering::Relaxed);
        ratatui::try_init().map(Screen).inspect_err(|_| give_back())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the screen is still to be given back. A second time, after a panic's message, would clear that away on some
/// terminals.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// If it cannot be given back there is nobody to tell.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::Relaxed) {
        let _ = ratatui::try_restore();
        let _ = execute!(io::stdout(), cursor::Show);
    }
}
