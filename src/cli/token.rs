//! `steward token`

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{CommandError, find_reseller, output};
use crate::dialects::dates;
use crate::domain::{Error, Owner, Scope, Scopes, TokenId};
use crate::service::{Credential, IssuedToken, Principal, Service, TokenKind, TokenRequest};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Create a token and print it. It cannot be shown again.
    #[command(after_help = "\
Scopes: account:read, account:write, webhook:read, webhook:write, token:write; operators also \
reseller:write.

Examples:
  steward token create --reseller \"Acme Hosting\" --name backend
  steward token create --reseller 3 --scope account:read --expires-in 90d --json
  steward token create --reseller 3 --jwt --expires-in 1h
  steward token create --operator")]
    Create {
        /// The reseller that the token belongs to, by number or name.
        #[arg(
            long,
            value_name = "ID_OR_NAME",
            required_unless_present = "operator",
            conflicts_with = "operator"
        )]
        reseller: Option<String>,
        /// Create an operator's token, which has access to all resellers.
        #[arg(long)]
        operator: bool,
        /// The scopes of the token; if absent, all that its owner may have.
        #[arg(long, value_delimiter = ',', value_parser = scope, value_name = "SCOPE,SCOPE")]
        scope: Option<Vec<Scope>>,
        /// A name that helps you recognize the token.
        #[arg(long)]
        name: Option<String>,
        /// The owner whose holds the token places and lifts, such as billing; if absent, a call may
        /// name any.
        #[arg(long, value_parser = owner, value_name = "NAME")]
        owner: Option<Owner>,
        /// How long the token is valid, such as 90d or 12h; if absent, until it is revoked.
        #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
        expires_in: Option<Duration>,
        /// Create a JSON Web Token, valid for 90 days unless --expires-in is given.
        #[arg(long)]
        jwt: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all tokens, without their secrets.
    #[command(after_help = "\
Example:
  steward token list --reseller \"Acme Hosting\" --json")]
    List {
        /// List only the tokens of this reseller, by number or name.
        #[arg(long, value_name = "ID_OR_NAME")]
        reseller: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token.
    #[command(after_help = "\
Example:
  steward token revoke 12")]
    Revoke {
        /// The token's number.
        #[arg(value_parser = number, allow_negative_numbers = true)]
        id: i64,
    },
    /// Replace a token with a new one. The old token stays valid for a grace period.
    #[command(after_help = "\
Example:
  steward token rotate 12 --grace 7d")]
    Rotate {
        /// The number of the old token.
        #[arg(value_parser = number, allow_negative_numbers = true)]
        id: i64,
        /// How long the old token stays valid, such as 7d.
        #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
        grace: Duration,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Reads the number of a token.
fn number(text: &str) -> Result<i64, String> {
    text.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
        let is_token = text.starts_with("stw_") || text.starts_with("eyJ");
        let what = if is_token {
            "this is a token, not its number"
        } else {
            "the number of a token is a whole number from 1 on"
        };
        format!("{what}; `steward token list` shows the numbers")
    })
}

fn owner(name: &str) -> Result<Owner, String> {
    Owner::parse("owner", name).map_err(|error| {
        if let Error::InvalidField { problem, .. } = error {
            problem
        } else {
            error.to_string()
        }
    })
}

fn scope(word: &str) -> Result<Scope, String> {
    let scopes: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    Scope::parse(word).ok_or_else(|| format!("must be one of {}", scopes.join(", ")))
}

impl Token {
    pub(super) async fn run(self, service: Arc<Service>) -> Result<(), CommandError> {
        let operator = Principal::command_line();
        match self {
            Self::Create {
                reseller,
                operator: _,
                scope,
                name,
                owner,
                expires_in,
                jwt,
                json,
            } => {
                let reseller = match reseller {
                    Some(reseller) => Some(find_reseller(&service, &reseller).await?),
                    None => None,
                };
                let kind = if jwt { TokenKind::Jwt } else { TokenKind::Key };
                let request = TokenRequest {
                    reseller,
                    kind,
                    scopes: scope.map(Scopes::from_iter),
                    name,
                    bound_to: owner,
                    expires_in,
                    expires_at: None,
                };
                show(
                    &service
                        .create_token(&operator, request, None)
                        .await?
                        .done()?,
                    json,
                );
            }
            Self::List { reseller, json } => {
                let mut tokens = service.tokens(&operator, 0, i64::MAX).await?;
                if let Some(reseller) = reseller {
                    let reseller = find_reseller(&service, &reseller).await?;
                    tokens.retain(|token| token.owner() == Some(reseller));
                }
                list(&tokens, json);
            }
            Self::Revoke { id } => {
                let revoked = service.revoke_token(&operator, TokenId(id), None);
                output::line(&if revoked.await?.done()?.is_changed {
                    format!("token {id} is now revoked")
                } else {
                    format!("token {id} is already revoked")
                });
            }
            Self::Rotate { id, grace, json } => show(
                &service
                    .rotate_token(&operator, TokenId(id), grace, None)
                    .await?
                    .done()?,
                json,
            ),
        }
        Ok(())
    }
}

fn show(issued: &IssuedToken, json: bool) {
    if json {
        let mut shown = document(&issued.credential);
        if let Value::Object(members) = &mut shown {
            members.insert(
                "token".to_owned(),
                Value::from(issued.token.expose_secret()),
            );
        }
        output::json(&shown);
    } else {
        output::note(&format!(
            "token {}, which is shown only this once:",
            issued.credential.id
        ));
        output::line(issued.token.expose_secret());
    }
}

fn document(credential: &Credential) -> Value {
    json!({
        "id": credential.id.0,
        "reseller_id": credential.owner().map(|reseller| reseller.0),
        "kind": credential.kind.as_str(),
        "name": credential.name,
        "scopes": credential.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "owner": credential.bound_to.as_ref().map(Owner::as_str),
        "created_at": dates::write(credential.created_at),
        "expires_at": credential.expires_at.map(dates::write),
        "revoked_at": credential.revoked_at.map(dates::write),
        "last_used_at": credential.last_used_at.map(dates::write),
    })
}

fn list(tokens: &[Credential], json: bool) {
    if json {
        output::json(&tokens.iter().map(document).collect());
        return;
    }
    let of = |token: &Credential| {
        token.owner().map_or_else(
            || "operator".to_owned(),
            |reseller| format!("reseller {reseller}"),
        )
    };
    let validity = |token: &Credential| match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {}", dates::write(at)),
        (None, Some(at)) => format!("until {}", dates::write(at)),
        (None, None) => "until revoked".to_owned(),
    };
    let scopes = |token: &Credential| {
        token
            .scopes
            .iter()
            .map(Scope::as_str)
            .collect::<Vec<_>>()
            .join(",")
    };
    let used = |token: &Credential| {
        token
            .last_used_at
            .map_or_else(|| "never".to_owned(), dates::write)
    };
    let row = |token: &Credential| {
        vec![
            token.id.to_string(),
            of(token),
            token
                .bound_to
                .as_ref()
                .map(Owner::to_string)
                .unwrap_or_default(),
            token.name.clone().unwrap_or_default(),
            validity(token),
            used(token),
            scopes(token),
        ]
    };
    output::table(
        &["ID", "OF", "OWNER", "NAME", "VALID", "LAST USED", "SCOPES"],
        &tokens.iter().map(row).collect::<Vec<_>>(),
    );
}
