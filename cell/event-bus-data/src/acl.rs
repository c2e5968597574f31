//! Access rules and topic ids, through librdkafka's C interface.
//!
//! Why unsafe: rust-rdkafka wraps neither CreateAcls, DescribeAcls, DeleteAcls nor the topic id of
//! DescribeTopics. Everything unsafe of this crate is in this file. Each call is synchronous: it
//! asks on a queue of its own and waits for the one answer; every native object is owned by a
//! guard that destroys it, and no pointer outlives the event it was read from.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;

use contracts::kafka::{Acl, Operation, Resource};
use rdkafka::bindings::*;
use rdkafka::client::{Client, ClientContext};

use crate::BusError;

const DEADLINE_MS: c_int = 30_000;
/// Reasons librdkafka gives fit easily; the length is its own documentation's advice.
const REASON_BYTES: usize = 512;

/// An access rule as the broker has it. Compared with what is declared by equality.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    /// `User:<name>`.
    pub principal: String,
    pub host: String,
    pub resource: String,
    pub name: String,
    pub pattern: String,
    pub operation: String,
    pub permission: String,
}

impl Rule {
    pub fn declared(acl: &Acl) -> Self {
        let (resource, name, pattern) = match &acl.resource {
            Resource::Topic { name } => ("topic", name, "literal"),
            Resource::GroupPrefix { prefix } => ("group", prefix, "prefixed"),
            Resource::TransactionalIdPrefix { prefix } => ("transactional-id", prefix, "prefixed"),
        };
        let operation = match acl.operation {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Describe => "describe",
        };
        Self {
            principal: format!("User:{}", acl.principal),
            host: "*".to_owned(),
            resource: resource.to_owned(),
            name: name.clone(),
            pattern: pattern.to_owned(),
            operation: operation.to_owned(),
            permission: "allow".to_owned(),
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { principal, resource, name, pattern, operation, permission, host } = self;
        write!(f, "{permission} {principal} {operation} on {resource} {name} ({pattern}) from {host}")
    }
}

const RESOURCES: &[(rd_kafka_ResourceType_t, &str)] = &[
    (rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, "topic"),
    (rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP, "group"),
    (rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, "transactional-id"),
    (rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER, "cluster"),
];
const PATTERNS: &[(rd_kafka_ResourcePatternType_t, &str)] = &[
    (rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL, "literal"),
    (rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED, "prefixed"),
];
const OPERATIONS: &[(rd_kafka_AclOperation_t, &str)] = &[
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALL, "all"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ, "read"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE, "write"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_CREATE, "create"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DELETE, "delete"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALTER, "alter"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE, "describe"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION, "cluster-action"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS, "describe-configs"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS, "alter-configs"),
    (rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE, "idempotent-write"),
];
const PERMISSIONS: &[(rd_kafka_AclPermissionType_t, &str)] = &[
    (rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, "allow"),
    (rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_DENY, "deny"),
];

fn word<T: Copy + PartialEq>(table: &[(T, &'static str)], native: T) -> String {
    table.iter().find(|(n, _)| *n == native).map_or("unknown", |(_, w)| *w).to_owned()
}

fn native<T: Copy + PartialEq>(table: &[(T, &'static str)], word: &str) -> Result<T, BusError> {
    table.iter().find(|(_, w)| *w == word).map(|(n, _)| *n).ok_or_else(|| failed("access rule", word))
}

fn failed(what: &str, detail: impl Into<String>) -> BusError {
    BusError::Administration { what: what.to_owned(), detail: detail.into() }
}

/// A native object and how to destroy it.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T), what: &str) -> Result<Self, BusError> {
        if pointer.is_null() { Err(failed(what, "librdkafka gave no object")) } else { Ok(Self { pointer, destroy }) }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came non-null from the matching constructor and is destroyed once.
        unsafe { (self.destroy)(self.pointer) }
    }
}

/// Asks one question and waits for its one event.
fn ask<C: ClientContext>(
    client: &Client<C>,
    operation: rd_kafka_admin_op_t,
    what: &str,
    send: impl FnOnce(*mut rd_kafka_t, *const rd_kafka_AdminOptions_t, *mut rd_kafka_queue_t),
) -> Result<Owned<rd_kafka_event_t>, BusError> {
    let handle = client.native_ptr();
    // SAFETY: `handle` lives as long as `client`; queue, options and event are owned by guards
    // and dropped before this function's caller lets go of `client`.
    unsafe {
        let queue = Owned::new(rd_kafka_queue_new(handle), rd_kafka_queue_destroy, what)?;
        let options = Owned::new(rd_kafka_AdminOptions_new(handle, operation), rd_kafka_AdminOptions_destroy, what)?;
        let mut reason = [0 as c_char; REASON_BYTES];
        rd_kafka_AdminOptions_set_request_timeout(options.pointer, DEADLINE_MS, reason.as_mut_ptr(), REASON_BYTES);
        send(handle, options.pointer, queue.pointer);
        let event = Owned::new(rd_kafka_queue_poll(queue.pointer, DEADLINE_MS), rd_kafka_event_destroy, what)?;
        if rd_kafka_event_error(event.pointer) != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(what, text(rd_kafka_event_error_string(event.pointer))));
        }
        Ok(event)
    }
}

/// Copies a C string; empty for null.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated string that outlives this call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: see above.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// An error object's words, or `None` for no error.
///
/// # Safety
/// `error` is null or valid for this call.
unsafe fn error_text(error: *const rd_kafka_error_t) -> Option<String> {
    if error.is_null() {
        return None;
    }
    // SAFETY: non-null and valid, as the caller promised; the string belongs to the error.
    unsafe {
        let none = rd_kafka_error_code(error) == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        (!none).then(|| text(rd_kafka_error_string(error)))
    }
}

fn c_text(value: &str) -> Result<CString, BusError> {
    CString::new(value).map_err(|_| failed("access rule", "a name holds a NUL"))
}

/// Native form of a rule: to create it, or, as a filter, to find exactly it.
fn binding(rule: &Rule, as_filter: bool) -> Result<Owned<rd_kafka_AclBinding_t>, BusError> {
    let (name, principal, host) = (c_text(&rule.name)?, c_text(&rule.principal)?, c_text(&rule.host)?);
    let resource = native(RESOURCES, &rule.resource)?;
    let pattern = native(PATTERNS, &rule.pattern)?;
    let operation = native(OPERATIONS, &rule.operation)?;
    let permission = native(PERMISSIONS, &rule.permission)?;
    let make = if as_filter { rd_kafka_AclBindingFilter_new } else { rd_kafka_AclBinding_new };
    let mut reason = [0 as c_char; REASON_BYTES];
    // SAFETY: the strings live through the call, which copies them; `reason` has the length given.
    unsafe {
        let made = make(
            resource,
            name.as_ptr(),
            pattern,
            principal.as_ptr(),
            host.as_ptr(),
            operation,
            permission,
            reason.as_mut_ptr(),
            REASON_BYTES,
        );
        Owned::new(made, rd_kafka_AclBinding_destroy, "access rule")
            .map_err(|_| failed("access rule", text(reason.as_ptr())))
    }
}

/// Every rule the broker has.
pub(crate) fn describe<C: ClientContext>(client: &Client<C>) -> Result<BTreeSet<Rule>, BusError> {
    let mut reason = [0 as c_char; REASON_BYTES];
    // SAFETY: null means "any" for name, principal and host; `reason` has the length given.
    let filter = unsafe {
        let made = rd_kafka_AclBindingFilter_new(
            rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_ANY,
            ptr::null(),
            rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_ANY,
            ptr::null(),
            ptr::null(),
            rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY,
            rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            reason.as_mut_ptr(),
            REASON_BYTES,
        );
        Owned::new(made, rd_kafka_AclBinding_destroy, "access rules")?
    };
    let event =
        ask(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS, "access rules", |handle, options, queue| {
            // SAFETY: all four are valid for the call, which copies the filter.
            unsafe { rd_kafka_DescribeAcls(handle, filter.pointer, options, queue) }
        })?;
    let mut count = 0;
    // SAFETY: the array and its elements belong to `event`, which lives until the end.
    unsafe {
        let result = rd_kafka_event_DescribeAcls_result(event.pointer);
        if result.is_null() {
            return Err(failed("access rules", "the answer is of another kind"));
        }
        let rules = rd_kafka_DescribeAcls_result_acls(result, &mut count);
        Ok((0..count).map(|at| read(*rules.add(at))).collect())
    }
}

/// # Safety
/// `acl` is valid for this call.
unsafe fn read(acl: *const rd_kafka_AclBinding_t) -> Rule {
    // SAFETY: the strings belong to `acl` and are copied.
    unsafe {
        Rule {
            principal: text(rd_kafka_AclBinding_principal(acl)),
            host: text(rd_kafka_AclBinding_host(acl)),
            resource: word(RESOURCES, rd_kafka_AclBinding_restype(acl)),
            name: text(rd_kafka_AclBinding_name(acl)),
            pattern: word(PATTERNS, rd_kafka_AclBinding_resource_pattern_type(acl)),
            operation: word(OPERATIONS, rd_kafka_AclBinding_operation(acl)),
            permission: word(PERMISSIONS, rd_kafka_AclBinding_permission_type(acl)),
        }
    }
}

/// Creates rules; one that exists already stays as it is.
pub(crate) fn create<C: ClientContext>(client: &Client<C>, rules: &[Rule]) -> Result<(), BusError> {
    let bindings = rules.iter().map(|rule| binding(rule, false)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = bindings.iter().map(|b| b.pointer).collect();
    let event =
        ask(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS, "access rules", |handle, options, queue| {
            // SAFETY: the array and its bindings outlive the call, which copies them.
            unsafe { rd_kafka_CreateAcls(handle, pointers.as_mut_ptr(), pointers.len(), options, queue) }
        })?;
    let mut count = 0;
    // SAFETY: results belong to `event`, which lives until the end.
    unsafe {
        let results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event.pointer), &mut count);
        for at in 0..count {
            if let Some(reason) = error_text(rd_kafka_acl_result_error(*results.add(at))) {
                return Err(failed("access rules", reason));
            }
        }
    }
    Ok(())
}

/// Deletes exactly these rules.
pub(crate) fn delete<C: ClientContext>(client: &Client<C>, rules: &[Rule]) -> Result<(), BusError> {
    let filters = rules.iter().map(|rule| binding(rule, true)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = filters.iter().map(|b| b.pointer).collect();
    let event =
        ask(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEACLS, "access rules", |handle, options, queue| {
            // SAFETY: the array and its filters outlive the call, which copies them.
            unsafe { rd_kafka_DeleteAcls(handle, pointers.as_mut_ptr(), pointers.len(), options, queue) }
        })?;
    let mut count = 0;
    // SAFETY: responses belong to `event`, which lives until the end.
    unsafe {
        let responses =
            rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(event.pointer), &mut count);
        for at in 0..count {
            if let Some(reason) = error_text(rd_kafka_DeleteAcls_result_response_error(*responses.add(at))) {
                return Err(failed("access rules", reason));
            }
        }
    }
    Ok(())
}

/// The id the broker gave `topic` when it was made, in Kafka's base64 form.
pub(crate) fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<String, BusError> {
    let name = c_text(topic)?;
    let mut names = [name.as_ptr()];
    // SAFETY: one name, alive through the call, which copies it.
    let topics = unsafe {
        let made = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        Owned::new(made, rd_kafka_TopicCollection_destroy, topic)?
    };
    let event = ask(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, topic, |handle, options, queue| {
        // SAFETY: all four are valid for the call, which copies the collection.
        unsafe { rd_kafka_DescribeTopics(handle, topics.pointer, options, queue) }
    })?;
    let mut count = 0;
    // SAFETY: descriptions belong to `event`, which lives until the end.
    unsafe {
        let descriptions =
            rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event.pointer), &mut count);
        if count != 1 {
            return Err(failed(topic, "the broker described no topic"));
        }
        if let Some(reason) = error_text(rd_kafka_TopicDescription_error(*descriptions)) {
            return Err(failed(topic, reason));
        }
        Ok(text(rd_kafka_Uuid_base64str(rd_kafka_TopicDescription_topic_id(*descriptions))))
    }
}
