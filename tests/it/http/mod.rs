//! The server: start and stop, connections, traces, pages.

mod api_docs;
mod character_sets;
mod compression;
mod connections;
mod cors;
mod forwarded_scheme;
mod heads;
mod http2;
mod http2_windows;
mod messages;
mod metrics;
mod notice_page;
mod openapi_patterns;
mod openapi_reads;
mod pages;
mod path_spelling;
mod problems;
mod rate_limits;
mod serving;
mod shares;
mod traces;
mod xml_documents;
