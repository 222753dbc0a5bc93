//! The instructions of each domain, from `data/instructions.toml` and from a file of the user's.
//!
//! An instruction such as "Represent the medical concept:" fixes the sense of a term. It goes before queries; documents are
//! embedded without one (Qwen3-Embedding's README). A user's file extends the built-in one domain by domain, or replaces it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::read_text;

/// One instruction of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// The name that requests use: the domain, or `domain/library` for the wording made for a library of documents.
    pub name: String,
    /// The domain.
    pub domain: String,
    /// The side of a search that the instruction is for: `query`. `/v1/domains` returns it.
    pub role: &'static str,
    /// The wording.
    pub text: String,
    /// The source of the wording.
    pub source: Option<String>,
    /// Other names that requests may use.
    pub aliases: Vec<String>,
}

/// A set of instructions, at most one for each name.
///
/// ```
/// use lexivec_models::{Error, Instructions};
///
/// let instructions = Instructions::builtin();
/// assert_eq!(instructions.get("Medical")?, "Represent the medical concept:");
/// assert!(instructions.iter().any(|instruction| instruction.name == "legal"));
///
/// let error = instructions.get("astrology").unwrap_err();
/// assert!(matches!(error, Error::UnknownDomain { .. }));
/// # Ok::<(), Error>(())
/// ```
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
    role: Option<String>,
    source: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
}

/// The side of a search that gets instructions.
const QUERY: &str = "query";

/// The suffix of a domain's name that selects its second wording.
const LIBRARY: &str = "/library";

impl Instructions {
    /// Returns the instructions that come with lexivec.
    pub fn builtin() -> Instructions {
        let text = include_str!("../data/instructions.toml");
        Instructions::parse(text, Path::new("instructions.toml"))
            .expect("the built-in file parses, as a test checks")
    }

    /// Reads a file of instructions, without the built-in ones.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Toml`] if it cannot be read, [`Error::Invalid`] for a name or a wording that cannot be used.
    pub fn read(path: &Path) -> Result<Instructions> {
        Instructions::parse(&read_text(path)?, path)
    }

    /// Returns the built-in instructions, extended or replaced by the file at `path` if one is given.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Example
    /// ```
    /// use lexivec_models::Instructions;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("instructions.toml");
    /// std::fs::write(&path, "[domains.botany]\ninstruction = \"Represent the plant:\"\n")?;
    /// let instructions = Instructions::load(Some(&path))?;
    /// assert_eq!(instructions.get("botany")?, "Represent the plant:");
    /// assert!(instructions.get("medical").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load(path: Option<&Path>) -> Result<Instructions> {
        let Some(path) = path else {
            return Ok(Instructions::builtin());
        };
        let given = Instructions::read(path)?;
        if given.replace {
            return Ok(given);
        }
        let mut all = Instructions::builtin();
        // A given domain replaces all wordings of the built-in one, its library wording included.
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

    /// Checks that no alias is another instruction's name or alias.
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

    /// Returns the wording of `domain`, which is a name or an alias in upper or lower case.
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

    /// Iterates over all instructions, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Instruction> {
        self.by_name.values()
    }
}

impl Domain {
    /// Returns the instructions of a domain: one, or two if it has a library wording.
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
        if let Some(role) = self.role.filter(|role| role != QUERY) {
            let reason = format!(
                "is `{role}`; only `{QUERY}` is allowed, because documents are embedded without an instruction"
            );
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
                role: QUERY,
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

/// Says why a wording cannot be used; none if it can.
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
