//! `symbolon apikey`

use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::server::access::{self, Entry, Role};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

/// Make, list and revoke the API keys of a server.
///
/// As soon as there has been one, nobody is let in without. A running server takes changes over within a second; one
/// that was started without any keys has to be started again.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key, and show it: this once.
    Create {
        /// The deployment's directory.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// For people: whose it is.
        #[arg(long)]
        name: String,
        /// What it is good for; several with commas.
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        roles: Vec<Role>,
        /// Requests a second, and at once; an item of a batch is one. By default any number.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
    },
    /// Show what keys there are.
    List {
        /// The deployment's directory.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
    },
    /// Revoke a key, for ever.
    Revoke {
        /// The deployment's directory.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
        /// The key's id: the 16 digits after `sk_`.
        id: String,
    },
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::Create { store, name, roles, rate } => {
            if name.is_empty() || name.chars().any(char::is_control) {
                let message = "a name has no control characters, and is not empty";
                return Err(Error::new(Kind::Argument, message).in_field("--name"));
            }
            let (entry, token) = access::create(store, name, roles, *rate)?;
            if output.is_json() {
                let line = json!({ "id": entry.id, "key": *token, "roles": entry.roles });
                return output.line(line.to_string());
            }
            output.line(token.as_str())
        }
        Command::List { store } => {
            for entry in access::list(store)? {
                let Entry { id, name, roles, rate, created_ms, revoked_ms, .. } = entry;
                if output.is_json() {
                    let line = json!({
                        "id": id, "name": name, "roles": roles, "rate": rate,
                        "created_ms": created_ms, "revoked_ms": revoked_ms,
                    });
                    output.line(line.to_string())?;
                    continue;
                }
                let state = if revoked_ms.is_some() { "revoked" } else { "in force" };
                let roles = roles.iter().map(|role| format!("{role:?}").to_lowercase());
                let roles = roles.collect::<Vec<_>>().join(",");
                let rate = rate.map_or("any rate".to_owned(), |rate| format!("{rate}/s"));
                output.line(format!("{id}  {state:<8}  {roles}  {rate}  {name}"))?;
            }
            Ok(())
        }
        Command::Revoke { store, id } => {
            let revoked = access::revoke(store, id)?;
            if output.is_json() {
                return output.line(json!({ "id": id, "revoked": revoked }).to_string());
            }
            output.line(if revoked { "revoked" } else { "it was revoked already" })
        }
    }
}
