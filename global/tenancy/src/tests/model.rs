//! The protocol of a move, every order of its events: requests that are late, lost or repeated, leaders that die at any
//! point, cells that hear late. Two clients' writes, one move there and one back.

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};

use crate::domain::moving::Step;

const CELLS: usize = 2;
const WRITES: u8 = 2;
/// Moves of the tenant: there, and back.
const MOVES: u8 = 2;

/// What a cell has heard of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Heard {
    Here(u64),
    Leaving(u64),
    Away(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cell {
    rows: BTreeSet<u8>,
    heard: Heard,
    fence: u64,
}

/// What a leader has asked of a cell. Once asked it may arrive at any time, and more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Ask {
    Fence { cell: usize, generation: u64 },
    Carry { from: usize, to: usize, generation: u64 },
    Clean { cell: usize, generation: u64 },
}

/// A client's write, where the router sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Write {
    row: u8,
    cell: usize,
    generation: u64,
    is_let_in: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    cells: Vec<Cell>,
    /// Tenancy's: where the tenant is placed, and at what it is entered again if it leaves.
    at: (usize, u64),
    leaving: Option<u64>,
    step: Step,
    moves: u8,
    asked: BTreeSet<Ask>,
    /// Whether the leader has heard that its present step is done.
    is_done: bool,
    writes: BTreeSet<Write>,
    sent: u8,
    acknowledged: BTreeSet<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    /// The router sends a write where it believes the tenant to be.
    Send,
    LetIn(Write),
    Store(Write),
    /// The request is given up on the way; its client knows nothing.
    Lose(Write),
    /// A cell hears what tenancy says.
    Hear(usize),
    Begin,
    /// The leader does what its step needs of tenancy, or asks it of a cell.
    Lead,
    Arrive(Ask),
    /// The leader's step is done, and the next one is written down.
    Advance,
}

struct Moving {
    /// What the protocol would be without its second generation.
    one_generation: bool,
}

impl Moving {
    fn target(state: &State) -> usize {
        (state.at.0 + 1) % CELLS
    }

    fn carried_at(&self, entered_at: u64) -> u64 {
        if self.one_generation { entered_at } else { entered_at - 1 }
    }

    /// What the step asks of which cell; `None` where it is tenancy's own.
    fn asks(&self, state: &State) -> Option<Ask> {
        let entered_at = state.leaving.unwrap_or(state.at.1);
        let (from, to) = (state.at.0, Self::target(state));
        match state.step {
            Step::Fence => Some(Ask::Fence { cell: from, generation: self.carried_at(entered_at) }),
            Step::Carry => Some(Ask::Carry { from, to, generation: self.carried_at(entered_at) }),
            Step::Switch => Some(Ask::Fence { cell: to, generation: entered_at }),
            // Placed already: the cell it left is the other one.
            Step::Clean => Some(Ask::Clean { cell: to, generation: self.carried_at(entered_at) }),
            _ => None,
        }
    }

    fn is_closed(state: &State) -> bool {
        let source = state.at.0;
        let is_heard = !matches!(state.cells[source].heard, Heard::Here(_));
        is_heard && !state.writes.iter().any(|write| write.cell == source && write.is_let_in)
    }
}

impl Model for Moving {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        let cell = |heard| Cell { rows: BTreeSet::new(), heard, fence: 0 };
        vec![State {
            cells: vec![cell(Heard::Here(1)), cell(Heard::Away(0))],
            at: (0, 1),
            leaving: None,
            step: Step::Done,
            moves: 0,
            asked: BTreeSet::new(),
            is_done: false,
            writes: BTreeSet::new(),
            sent: 0,
            acknowledged: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Event>) {
        if state.sent < WRITES {
            actions.push(Event::Send);
        }
        for write in &state.writes {
            actions.push(if write.is_let_in { Event::Store(*write) } else { Event::LetIn(*write) });
            actions.push(Event::Lose(*write));
        }
        actions.extend((0..CELLS).map(Event::Hear));
        actions.extend(state.asked.iter().copied().map(Event::Arrive));
        match state.step {
            Step::Done if state.moves < MOVES => actions.push(Event::Begin),
            Step::Done => {}
            _ => actions.extend([Event::Lead, Event::Advance]),
        }
    }

    // length: one arm for each event, each as short as it can be.
    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        match event {
            Event::Send => {
                let (cell, generation) = state.at;
                state.writes.insert(Write { row: state.sent, cell, generation, is_let_in: false });
                state.sent += 1;
            }
            Event::LetIn(write) => {
                state.writes.remove(&write);
                let is_let_in = match state.cells[write.cell].heard {
                    Heard::Here(generation) => write.generation >= generation,
                    Heard::Leaving(next) | Heard::Away(next) => write.generation > next,
                };
                if is_let_in {
                    state.writes.insert(Write { is_let_in, ..write });
                }
            }
            Event::Store(write) => {
                state.writes.remove(&write);
                let cell = &mut state.cells[write.cell];
                if write.generation >= cell.fence {
                    cell.fence = write.generation;
                    cell.rows.insert(write.row);
                    state.acknowledged.insert(write.row);
                }
            }
            Event::Lose(write) => {
                state.writes.remove(&write);
            }
            Event::Hear(cell) => {
                state.cells[cell].heard = match (state.at.0 == cell, state.leaving) {
                    (true, Some(next)) => Heard::Leaving(next),
                    (true, None) => Heard::Here(state.at.1),
                    (false, _) => Heard::Away(state.at.1),
                };
            }
            Event::Begin => {
                (state.step, state.is_done) = (Step::Close, false);
                state.moves += 1;
            }
            Event::Lead => match self.asks(&state) {
                Some(ask) => {
                    state.asked.insert(ask);
                }
                None if state.step == Step::Close => {
                    state.leaving.get_or_insert(state.at.1 + 2);
                    state.is_done = Self::is_closed(&state);
                }
                None => state.is_done = true,
            },
            Event::Arrive(ask) => {
                arrive(&mut state, ask);
                state.is_done |= self.asks(&state) == Some(ask);
            }
            Event::Advance if !state.is_done => return None,
            Event::Advance => {
                if state.step == Step::Switch {
                    state.at = (Self::target(&state), state.leaving?);
                    state.leaving = None;
                }
                (state.step, state.is_done) = (state.step.next(), false);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "what was acknowledged is where the tenant is, or is carried there",
                |_, state: &State| {
                    // Until the switch that is the old cell, whatever the new one has.
                    let rows = &state.cells[state.at.0].rows;
                    state.acknowledged.is_subset(rows)
                },
            ),
            Property::always("no two cells let the tenant in", |_, state: &State| {
                let lets_in = |cell: &Cell| matches!(cell.heard, Heard::Here(generation) if generation >= cell.fence);
                state.cells.iter().filter(|cell| lets_in(cell)).count() <= 1
            }),
            Property::sometimes("the tenant comes back with its rows", |_, state: &State| {
                state.moves == MOVES && state.step == Step::Done && state.acknowledged.len() == usize::from(WRITES)
            }),
        ]
    }
}

/// A request reaches its cell, which does it or refuses it.
fn arrive(state: &mut State, ask: Ask) {
    match ask {
        Ask::Fence { cell, generation } => {
            let cell = &mut state.cells[cell];
            cell.fence = cell.fence.max(generation);
        }
        Ask::Carry { from, to, generation } => {
            let rows = state.cells[from].rows.clone();
            let target = &mut state.cells[to];
            if target.fence <= generation {
                (target.rows, target.fence) = (rows, generation);
            }
        }
        Ask::Clean { cell, generation } => {
            let cell = &mut state.cells[cell];
            if cell.fence <= generation {
                cell.fence = generation;
                cell.rows.clear();
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_the_order() {
    let checker = Moving { one_generation: false }.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// The model would find it: with one generation, rows that are carried late lie over newer ones.
#[test]
fn with_one_generation_rows_would_be_lost() {
    let checker = Moving { one_generation: true }.checker().threads(2).spawn_bfs().join();
    let lost = "what was acknowledged is where the tenant is, or is carried there";
    checker.assert_any_discovery(lost);
}
