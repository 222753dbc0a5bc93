//! Values of `--ep-option`, each with one or more options of execution providers.

/// The keys and values of one flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpOptions(pub(crate) Vec<(String, String)>);

/// Reads `KEY=VALUE[,KEY=VALUE…]`. Blanks around keys and values are ignored. A part without `=` continues the value before it, because
/// TensorRT's shapes contain commas.
///
/// # Errors
/// A key or a value is missing, or a comma has nothing before or after it.
pub(crate) fn ep_options(text: &str) -> Result<EpOptions, String> {
    let mut options: Vec<(String, String)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        if part.is_empty() && text.contains(',') {
            return Err("there is nothing before or after one of its commas".to_owned());
        }
        let pair = part.split_once('=');
        match (
            pair.map(|(key, value)| (key.trim(), value.trim())),
            options.last_mut(),
        ) {
            (Some(("", _)), _) => {
                return Err(format!(
                    "`{part}` has no key: it is not of the form KEY=VALUE"
                ));
            }
            (Some((key, "")), _) => {
                return Err(format!(
                    "`{key}=` has no value: leave it out for the provider's default"
                ));
            }
            (Some((key, value)), _) => options.push((key.to_owned(), value.to_owned())),
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            (None, None) => return Err(format!("`{part}` is not of the form KEY=VALUE")),
        }
    }
    Ok(EpOptions(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        ep_options(text).unwrap().0
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_value_may_hold_commas() {
        assert_eq!(
            read("trt_profile_min_shapes=a:1,b:1x1,cuda.tf32=1"),
            [
                pair("trt_profile_min_shapes", "a:1,b:1x1"),
                pair("cuda.tf32", "1")
            ]
        );
    }

    #[test]
    fn blanks_around_keys_and_values_are_ignored() {
        assert_eq!(
            read(" cuda.tf32 = 1 , shapes = a:1, b:1 "),
            [pair("cuda.tf32", "1"), pair("shapes", "a:1,b:1")]
        );
        assert_eq!(read("path=/a folder/x=y"), [pair("path", "/a folder/x=y")]);
    }

    #[test]
    fn an_error_names_the_missing_part() {
        for (text, said) in [
            ("tf32", "`tf32` is not of the form KEY=VALUE"),
            ("", "`` is not of the form KEY=VALUE"),
            ("=1", "`=1` has no key"),
            ("tf32=", "`tf32=` has no value"),
            ("a=1, =2", "`=2` has no key"),
            ("a=1,", "nothing before or after one of its commas"),
            (",a=1", "nothing before or after one of its commas"),
            ("a=1,,b=2", "nothing before or after one of its commas"),
        ] {
            let message = ep_options(text).unwrap_err();
            assert!(message.contains(said), "{text}: {message}");
        }
    }
}
