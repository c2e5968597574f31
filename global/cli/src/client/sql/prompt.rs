//! The prompt: lines until `;`, backslash commands, timings, history, Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::anyhow;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use super::super::table::grouped;
use super::output;
use super::session::{Rows, Session, told};
use super::statement::split;
use crate::place::Place;

/// Rows shown on a screen; more are said to be there, never dropped in silence.
const SHOWN_ROWS: usize = 1_000;
const HISTORY_LINES: usize = 10_000;

const HELP: &str = "\
statements end with ;    Ctrl-C cancels, Ctrl-D or \\q leaves
\\dt            tables
\\d [table]     columns of a table, or the tables
\\dn            schemas
\\timing        show or hide how long statements take
\\x             one line per value, or tables";

struct Settings {
    timing: bool,
    expanded: bool,
}

type Line = Editor<Names, FileHistory>;

pub async fn run(session: Session, tenant: &str, place: &Place) -> anyhow::Result<ExitCode> {
    let history = place.state.join("cli/sql_history");
    let mut editor = editor(&session, &history).await?;
    let mut settings = Settings { timing: true, expanded: false };
    println!("tenant {tenant}. \\? for help.");
    let mut pending = String::new();
    loop {
        let prompt =
            if pending.is_empty() { format!("{tenant}> ") } else { format!("{:>1$} ", "..>", tenant.len() + 1) };
        let (returned, line) = read(editor, prompt).await?;
        editor = returned;
        match line {
            Ok(line) if pending.is_empty() && line.trim_start().starts_with('\\') => {
                remember(&mut editor, &line);
                if !command(line.trim(), &session, &mut settings).await {
                    break;
                }
            }
            Ok(line) => {
                pending.push_str(&line);
                pending.push('\n');
                let (statements, rest) = split(&pending);
                if !statements.is_empty() {
                    remember(&mut editor, pending.trim());
                }
                pending = rest;
                for statement in statements {
                    execute(&session, &statement, &settings).await;
                }
            }
            Err(ReadlineError::Interrupted) => pending.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    std::fs::create_dir_all(place.state.join("cli"))?;
    editor.save_history(&history)?;
    Ok(ExitCode::SUCCESS)
}

/// A history that cannot take a line is no reason to stop.
fn remember(editor: &mut Line, line: &str) {
    let _added = editor.add_history_entry(line);
}

/// Reading a line blocks, so it happens on a thread of its own and the editor travels there and back.
async fn read(mut editor: Line, prompt: String) -> anyhow::Result<(Line, Result<String, ReadlineError>)> {
    let read = move || {
        let line = editor.readline(&prompt);
        (editor, line)
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| anyhow!("the prompt ended"))
}

async fn editor(session: &Session, history: &PathBuf) -> anyhow::Result<Line> {
    let config = Config::builder().max_history_size(HISTORY_LINES)?.build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Names(names(session).await)));
    if history.exists() {
        editor.load_history(history)?;
    }
    Ok(editor)
}

/// Runs one statement; an error is a line, not the end.
async fn execute(session: &Session, sql: &str, settings: &Settings) {
    let begun = Instant::now();
    let outcome = tokio::select! {
        rows = session.rows(sql, SHOWN_ROWS) => rows.and_then(|rows| show(&rows, settings)),
        _ = tokio::signal::ctrl_c() => Err(anyhow!("cancelled")),
    };
    match outcome {
        Ok(summary) if settings.timing => println!("{summary}, {:.1} ms", begun.elapsed().as_secs_f64() * 1e3),
        Ok(summary) => println!("{summary}"),
        Err(error) => eprintln!("error: {:#}", told(error)),
    }
}

fn show(rows: &Rows, settings: &Settings) -> anyhow::Result<String> {
    let text = if settings.expanded {
        output::expanded(&rows.schema, &rows.batches)
    } else {
        output::table(&rows.schema, &rows.batches)
    };
    println!("{}", text?);
    let count: usize = rows.batches.iter().map(RecordBatch::num_rows).sum();
    Ok(match (rows.more, count) {
        (true, _) => format!("first {} rows; there are more (cyto sql --format csv gives all)", grouped(count as u64)),
        (false, 1) => "1 row".to_owned(),
        (false, count) => format!("{} rows", grouped(count as u64)),
    })
}

/// Answers whether the prompt goes on.
async fn command(line: &str, session: &Session, settings: &mut Settings) -> bool {
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let outcome = match (name, argument.trim()) {
        ("\\q", _) => return false,
        ("\\?" | "\\h", _) => {
            println!("{HELP}");
            Ok(())
        }
        ("\\timing", _) => {
            settings.timing = !settings.timing;
            println!("timing is {}", if settings.timing { "on" } else { "off" });
            Ok(())
        }
        ("\\x", _) => {
            settings.expanded = !settings.expanded;
            println!("expanded display is {}", if settings.expanded { "on" } else { "off" });
            Ok(())
        }
        ("\\dt" | "\\d", "") => session.tables(false).await.and_then(|batches| print(&batches)),
        ("\\dn", _) => session.schemas().await.and_then(|batches| print(&batches)),
        ("\\d", table) => describe(session, table).await,
        _ => Err(anyhow!("{name} is no command; \\? lists them")),
    };
    if let Err(error) = outcome {
        eprintln!("error: {:#}", told(error));
    }
    true
}

fn print(batches: &[RecordBatch]) -> anyhow::Result<()> {
    let schema: SchemaRef = batches.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema);
    println!("{}", output::table(&schema, batches)?);
    Ok(())
}

/// A statement that returns no row still has the table's columns, whoever serves it.
async fn describe(session: &Session, table: &str) -> anyhow::Result<()> {
    let quoted: Vec<String> =
        table.split('.').map(|part| format!("\"{}\"", part.trim_matches('"').replace('"', "\"\""))).collect();
    let results = session.execute(&format!("select * from {} limit 0", quoted.join("."))).await?;
    let rows = results.schema().fields().iter();
    let rows = rows.map(|f| {
        vec![f.name().clone(), f.data_type().to_string(), if f.is_nullable() { "yes" } else { "no" }.to_owned()]
    });
    println!("{}", super::super::table::render(&["column", "type", "null"], rows.collect(), &[]));
    Ok(())
}

/// Names of tables as they are completed; none when the edge does not answer, the prompt still works.
async fn names(session: &Session) -> Vec<String> {
    let mut names: Vec<String> = KEYWORDS.iter().map(|k| (*k).to_owned()).collect();
    let Ok(batches) = session.tables(false).await else { return names };
    for batch in &batches {
        let text = |name: &str| batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
        let (Some(schemas), Some(tables)) = (text("db_schema_name"), text("table_name")) else { continue };
        names.extend((0..tables.len()).map(|row| format!("{}.{}", schemas.value(row), tables.value(row))));
    }
    names
}

const KEYWORDS: &[&str] =
    &["select", "from", "where", "group by", "order by", "having", "limit", "join", "count(*)", "explain", "distinct"];

/// Completes table names and a few keywords.
struct Names(Vec<String>);

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..at).unwrap_or(line);
        let start = before.rfind(|c: char| c.is_whitespace() || "(,;=<>".contains(c)).map_or(0, |at| at + 1);
        let word = before.get(start..).unwrap_or("").to_lowercase();
        let fits = |name: &&String| !word.is_empty() && name.to_lowercase().starts_with(&word);
        Ok((start, self.0.iter().filter(fits).cloned().collect()))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}
