//! Lists: `pageSize`/`pageToken` in, `{data, nextPageToken}` out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};

const DEFAULT_SIZE: u32 = 100;
const MAX_SIZE: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("pageSize is between 1 and {MAX_SIZE}")]
    Size,
    #[error("pageToken was not made by this list")]
    Token,
}

impl Fault for PageError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
    fn code(&self) -> &'static str {
        "request/page"
    }
}

/// Query parameters of a list.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct PageRequest {
    /// 1 to 1000; 100 when absent.
    pub page_size: Option<u32>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

impl PageRequest {
    pub fn size(&self) -> Result<usize, PageError> {
        match self.page_size.unwrap_or(DEFAULT_SIZE) {
            size @ 1..=MAX_SIZE => Ok(size as usize),
            _ => Err(PageError::Size),
        }
    }

    /// The last key of the page before, as [`Page::of`] stored it.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, PageError> {
        let Some(token) = &self.page_token else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageError::Token)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|_| PageError::Token)
    }
}

/// One page of a list, in key order.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

impl<T> Page<T> {
    /// Takes up to `size + 1` rows in key order: the extra one only says that there are more.
    pub fn of<K: Serialize>(mut rows: Vec<T>, size: usize, key: impl Fn(&T) -> K) -> Self {
        let more = rows.len() > size;
        rows.truncate(size);
        let last = rows.last().filter(|_| more);
        let next_page_token =
            last.and_then(|row| serde_json::to_vec(&key(row)).ok()).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Self { data: rows, next_page_token }
    }

    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page { data: self.data.into_iter().map(each).collect(), next_page_token: self.next_page_token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_leads_to_the_row_after_the_last() {
        let page = Page::of(vec![1, 2, 3], 2, |n| *n);
        assert_eq!(page.data, [1, 2]);
        let next = PageRequest { page_size: None, page_token: page.next_page_token };
        assert_eq!(next.after::<i32>().unwrap(), Some(2));
        assert!(Page::of(vec![1, 2], 2, |n| *n).next_page_token.is_none());
        let forged = PageRequest { page_size: Some(0), page_token: Some("?".into()) };
        assert_eq!(forged.size(), Err(PageError::Size));
        assert_eq!(forged.after::<i32>(), Err(PageError::Token));
    }
}
