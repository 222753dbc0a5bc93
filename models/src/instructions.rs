//! The instructions of each domain, from `data/instructions.toml` and a file of the user's.
//!
//! An instruction such as "Represent the medical concept:" fixes the sense of a term. It belongs to the query side
//! of a search; documents are embedded bare (Qwen3-Embedding's README). A user's file extends the built-in one
//! domain by domain, or replaces it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::read_text;

/// The side of a search that a text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What is searched for; it may get an instruction.
    Query,
    /// What is found; it never gets one.
    Document,
}

/// One instruction of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// What it is addressed by: the domain, or `domain/library` for the wording made for a library of documents.
    pub name: String,
    /// The domain.
    pub domain: String,
    /// The side of a search that gets it; always [`Role::Query`].
    pub role: Role,
    /// The wording.
    pub text: String,
    /// Where the wording comes from.
    pub source: Option<String>,
    /// Other names it is addressed by.
    pub aliases: Vec<String>,
}

/// The instructions at hand, at most one for each name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instructions {
    by_name: BTreeMap<String, Instruction>,
    replace: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    replace: bool,
    #[serde(default)]
    domains: BTreeMap<String, Domain>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    instruction: String,
    library: Option<String>,
    #[serde(default = "query")]
    role: Role,
    source: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
}

fn query() -> Role {
    Role::Query
}

/// What follows a domain's name to address its second wording.
const LIBRARY: &str = "/library";

impl Instructions {
    /// The instructions that come with lexivec.
    pub fn builtin() -> Instructions {
        let text = include_str!("../data/instructions.toml");
        Instructions::parse(text, Path::new("instructions.toml"))
            .expect("the built-in file parses, as a test checks")
    }

    /// Reads a file of instructions, by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Toml`] where it cannot be read, [`Error::Invalid`] for a name or a wording that
    /// cannot be used.
    pub fn read(path: &Path) -> Result<Instructions> {
        Instructions::parse(&read_text(path)?, path)
    }

    /// The built-in instructions, extended or replaced by the file at `path` where one is given.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn load(path: Option<&Path>) -> Result<Instructions> {
        let Some(path) = path else {
            return Ok(Instructions::builtin());
        };
        let given = Instructions::read(path)?;
        if given.replace {
            return Ok(given);
        }
        let mut all = Instructions::builtin();
        // By whole domains: a given domain without a library wording has none.
        let is_given = |domain: &str| given.by_name.contains_key(domain);
        all.by_name
            .retain(|_, instruction| !is_given(&instruction.domain));
        all.by_name.extend(given.by_name);
        all.check_aliases(path)?;
        Ok(all)
    }

    fn parse(text: &str, path: &Path) -> Result<Instructions> {
        let file: File = toml::from_str(text).map_err(|source| Error::Toml {
            path: path.to_path_buf(),
            source: Box::new(source),
        })?;
        let mut by_name = BTreeMap::new();
        for (name, domain) in file.domains {
            for instruction in domain.instructions(&name, path)? {
                by_name.insert(instruction.name.clone(), instruction);
            }
        }
        let instructions = Instructions {
            by_name,
            replace: file.replace,
        };
        instructions.check_aliases(path)?;
        Ok(instructions)
    }

    /// No alias may be another instruction's name or alias.
    fn check_aliases(&self, path: &Path) -> Result<()> {
        let mut seen = BTreeMap::new();
        for instruction in self.iter() {
            for alias in std::iter::once(&instruction.name).chain(&instruction.aliases) {
                if let Some(other) = seen.insert(alias, &instruction.domain) {
                    let field = format!("domains.{}.aliases", instruction.domain);
                    return Err(Error::invalid(
                        path,
                        field,
                        format!("has `{alias}`, which is also `{other}`'s"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The wording for the query side of `domain`, addressed by name or alias in upper or lower case.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDomain`], which lists the names that exist.
    pub fn get(&self, domain: &str) -> Result<&str> {
        let wanted = domain.trim().to_ascii_lowercase();
        let found = self
            .by_name
            .get(&wanted)
            .or_else(|| self.iter().find(|entry| entry.aliases.contains(&wanted)));
        match found {
            Some(instruction) => Ok(&instruction.text),
            None => Err(Error::UnknownDomain {
                name: domain.to_string(),
                known: self.by_name.keys().cloned().collect(),
            }),
        }
    }

    /// All instructions, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Instruction> {
        self.by_name.values()
    }
}

impl Domain {
    /// The instructions of a domain: one, or two where it has a library wording.
    fn instructions(self, name: &str, path: &Path) -> Result<Vec<Instruction>> {
        let field = |key: &str| format!("domains.{name}.{key}");
        if let Some(bad) = std::iter::once(name)
            .chain(self.aliases.iter().map(String::as_str))
            .find(|name| !is_name(name))
        {
            let reason = format!(
                "is named `{bad}`; a name has 1 to 64 lower-case letters, digits, `-` and `_`"
            );
            return Err(Error::invalid(path, format!("domains.{name}"), reason));
        }
        if self.role == Role::Document {
            let reason = "is `document`; documents are embedded without an instruction, so only `query` is allowed";
            return Err(Error::invalid(path, field("role"), reason));
        }
        let wordings = [
            ("instruction", "", Some(self.instruction)),
            ("library", LIBRARY, self.library),
        ];
        let mut instructions = Vec::new();
        for (key, suffix, text) in wordings {
            let Some(text) = text else { continue };
            if let Some(reason) = unusable(&text) {
                return Err(Error::invalid(path, field(key), reason));
            }
            instructions.push(Instruction {
                name: format!("{name}{suffix}"),
                domain: name.to_string(),
                role: self.role,
                text,
                source: self.source.clone(),
                aliases: self
                    .aliases
                    .iter()
                    .map(|alias| format!("{alias}{suffix}"))
                    .collect(),
            });
        }
        Ok(instructions)
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

/// Why a wording cannot be used, where it cannot.
fn unusable(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("is empty")
    } else if text.contains(char::is_control) {
        // A line feed would end the instruction: the prompt's next line is the query.
        Some("has a line feed or another control character; it must be one line")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
