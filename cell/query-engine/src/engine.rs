//! The engine: binds a statement to a tenant's tables, then runs it within its limits.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::config::Dialect;
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use kit::Scope;

use crate::extent::is_short;
use crate::memory::Memory;
use crate::plans::{Key, Plan, Plans};
use crate::source::{Pin, TableSource};
use crate::workers::Rows;
use crate::yielding::YieldAfterMultipliers;
use crate::{Error, Limits, Result, SessionOptions, catalog, classify, parameters, plans, workers};

/// A statement and on whose behalf it runs.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub scope: &'a Scope,
    pub session: &'a SessionOptions,
    pub sql: &'a str,
    /// State of the tables to read; their current state when absent.
    pub pins: Option<&'a [Pin]>,
}

/// Plans and runs statements. Cheap to share; holds no tenant.
#[derive(Debug)]
pub struct Engine {
    source: Arc<dyn TableSource>,
    limits: Limits,
    /// Functions, rules and settings common to all statements.
    template: SessionState,
    runtime: Arc<RuntimeEnv>,
    memory: Memory,
    plans: Plans,
    workers: workers::Workers,
}

/// A statement bound to the tables it reads.
#[derive(Debug)]
pub struct Bound {
    state: SessionState,
    plan: Arc<Plan>,
    pins: Vec<Pin>,
}

impl Bound {
    /// The one schema of the result that every answer to a client names.
    pub fn schema(&self) -> &SchemaRef {
        &self.plan.schema
    }

    /// One field per parameter.
    pub fn parameters(&self) -> &SchemaRef {
        &self.plan.parameters
    }

    /// State of each table read.
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }
}

impl Engine {
    /// `runtime` knows the object stores that `source`'s tables are read from.
    pub fn new(source: Arc<dyn TableSource>, limits: Limits) -> Result<Self> {
        let mode = match &limits.spill_folder {
            Some(folder) => {
                empty(folder).map_err(|error| Error::Storage(Box::new(error)))?;
                DiskManagerMode::Directories(vec![folder.clone()])
            }
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limits.spill);
        let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build_arc()?;
        let config = SessionConfig::from(settings()?)
            .with_target_partitions(limits.target_partitions())
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false);
        let template = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&runtime))
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(YieldAfterMultipliers))
            .build();
        let memory = Memory::new(&limits);
        let workers = workers::Workers::start(limits.target_partitions())?;
        Ok(Self { source, limits, template, runtime, memory, plans: Plans::new(), workers })
    }

    /// Where tables' object stores are registered.
    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    pub fn source(&self) -> &Arc<dyn TableSource> {
        &self.source
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Parses, loads the tables, plans, and refuses what is not a read.
    pub async fn bind(&self, request: Request<'_>) -> Result<Bound> {
        if request.sql.len() > self.limits.statement_text {
            return Err(Error::TooLong { what: "the statement", limit: self.limits.statement_text });
        }
        let mut statement = self.template.sql_to_statement(request.sql, &Dialect::Generic).map_err(single)?;
        parameters::number(&mut statement)?;
        let references = self.template.resolve_table_references(&statement)?;
        let names =
            catalog::resolve(self.source.as_ref(), request.scope, request.session, &references, request.pins).await?;
        let state = self.state(request.scope, &names)?;
        let key = Key::of(request, &names);
        let plan = match self.plans.get(key.as_ref()).await {
            Some(known) => known,
            None => {
                let (plan, timeless) = planned(&state, statement, &names).await?;
                let plan = Arc::new(plan);
                self.plans.keep(key.filter(|_| timeless), &plan, names.weight).await;
                plan
            }
        };
        Ok(Bound { state, plan, pins: names.pins })
    }

    /// Replaces the parameters by one row of values.
    pub fn with_parameters(&self, bound: &Bound, values: &RecordBatch, row: usize) -> Result<Bound> {
        let values = parameters::values(bound.parameters(), values, row)?;
        let plan = bound.plan.plan.clone().with_param_values(values)?;
        let (plan, schema) = analysed(&bound.state, plan, true)?;
        let plan = Arc::new(Plan { plan, schema, parameters: Arc::new(Schema::empty()) });
        Ok(Bound { state: bound.state.clone(), plan, pins: bound.pins.clone() })
    }

    /// Starts the statement; rows are computed as they are read, at most a few batches ahead.
    pub async fn execute(&self, bound: &Bound) -> Result<Rows> {
        if !bound.parameters().fields().is_empty() {
            return Err(Error::Parameters(format!("{} parameters are not bound", bound.parameters().fields().len())));
        }
        let (state, plan) = (bound.state.clone(), Arc::clone(&bound.plan));
        let context = state.task_ctx();
        let plan = async move { state.query_planner().create_physical_plan(&plan.plan, &state).await };
        let physical = self.workers.short.run(plan).await??;
        let lane = if is_short(&physical) { &self.workers.short } else { &self.workers.long };
        // Operators spawn their tasks when they are started, so they are started by those who are to run them.
        let rows = lane.run(async move { execute_stream(physical, context) }).await??;
        Ok(lane.stream(rows, Arc::clone(bound.schema()), self.limits.statement_time()))
    }

    /// The template with the statement's own catalog, clock and memory.
    fn state(&self, scope: &Scope, names: &catalog::Names) -> Result<SessionState> {
        let memory = self.memory.statement(&scope.tenant);
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime).with_memory_pool(memory).build_arc()?;
        let mut state = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_session_id(scope.request_id.clone())
            .with_runtime_env(runtime)
            .with_catalog_list(Arc::clone(&names.catalog) as _)
            .with_execution_props(ExecutionProps::new())
            .build();
        let catalog = &mut state.config_mut().options_mut().catalog;
        catalog.default_catalog = scope.tenant.to_string();
        catalog.default_schema = catalog::SEARCH_PATH.to_owned();
        // The clock that `now()` reads.
        state.mark_start_execution();
        Ok(state)
    }
}

/// Removes what a killed process left behind; the folder is this engine's alone.
fn empty(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)
}

/// The statement's plan, and whether it is worth keeping.
async fn planned(state: &SessionState, statement: Statement, names: &catalog::Names) -> Result<(Plan, bool)> {
    let plan = state.statement_to_plan(statement).await.map_err(|error| not_found(error, &names.missing))?;
    classify::require_read_only(&plan)?;
    let timeless = plans::is_timeless(&plan)?;
    let parameters = parameters::schema(&plan)?;
    let (plan, schema) = analysed(state, plan, parameters.fields().is_empty())?;
    Ok((Plan { plan, schema, parameters }, timeless))
}

fn settings() -> Result<ConfigOptions> {
    let mut options = ConfigOptions::new();
    options.execution.parquet.enable_page_index = true;
    // Chosen per scan, by how few rows a filter is expected to keep.
    options.execution.parquet.pushdown_filters = false;
    options.execution.parquet.reorder_filters = true;
    options.execution.collect_statistics = true;
    // Clients know Utf8; a view type would be new to many of them.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.expand_views_at_output = true;
    options.optimizer.repartition_file_min_size = 4 << 20;
    Ok(options)
}

/// With all parameters known, the plan is optimised once, here; its schema is then final.
fn analysed(state: &SessionState, plan: LogicalPlan, complete: bool) -> Result<(LogicalPlan, SchemaRef)> {
    if complete {
        let plan = state.optimize(&plan)?;
        let schema = advertised(plan.schema().as_arrow());
        return Ok((plan, schema));
    }
    let coerced = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {});
    // A parameter of unknown type may not coerce yet; then the written plan's schema must do.
    let schema = advertised(coerced.as_ref().unwrap_or(&plan).schema().as_arrow());
    Ok((plan, schema))
}

/// The result's schema without what storage noted on its fields.
pub(crate) fn advertised(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        schema.fields().iter().map(|f| f.as_ref().clone().with_metadata(Default::default())).collect();
    Arc::new(Schema::new(fields))
}

/// The engine's word for two statements in one text is about its own context.
fn single(error: DataFusionError) -> Error {
    match error {
        DataFusionError::NotImplemented(_) => Error::Statement("one statement at a time".to_owned()),
        other => Error::from(other),
    }
}

/// Planning stops at the first table it cannot find; the message names the table as written.
fn not_found(error: DataFusionError, missing: &[String]) -> Error {
    let text = error.to_string();
    match missing.iter().find(|_| text.contains("table '") && text.contains("not found")) {
        Some(name) => Error::TableNotFound(format!("table {name} does not exist")),
        None => Error::from(error),
    }
}
