//! Who may do what: users, API tokens, roles and the limit to apps.
//!
//! `Accounts` answers who is behind a token or a password, and keeps both: a token is stored as its
//! SHA-256, a password as its Argon2id hash, and neither is ever logged. What a role may do is one
//! function, `Role::may`; who asks for what is the admin port's table of routes.
//!
//! People log in (`session`) with a password and, where they have one, a second factor
//! (`second_factor`); `lockout` keeps guesses slow.
//!
//! Not here: cookies (`admin`), the clock (callers pass `now`), and the rows on disk (`archive`).

pub mod accounts;
pub mod identity;
mod lockout;
pub mod password;
mod plain;
pub mod role;
pub mod second_factor;
pub mod session;
pub mod token;
pub mod user;

pub use accounts::{AccountError, AccountRefusal, Accounts};
pub use identity::{Actor, AppScope, Identity};
pub use role::{Permission, Role};
pub use second_factor::Enrolment;
pub use session::{BegunSession, LoginAttempt, LoginRefusal, Session, Visitor, csrf_token};
pub use token::{NewToken, Token, TokenId, TokenRefusal};
pub use user::{NewUser, User, UserEdit, UserName};
