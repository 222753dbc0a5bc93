//! The arguments of `embed`: texts, and two constants that decide the prompt and the type of the vectors.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, StringArray, UInt32Array};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs};
use lexivec::{ModelInfo, Prompt};

use super::prompt;

/// The name in SQL.
pub(crate) const NAME: &str = "embed";

/// The widest vectors of any model, which keeps sizes far from overflow. The widest of Qwen3-Embedding have 4,096 numbers.
const WIDEST: usize = 65_536;

/// An error of the function, which the reader recognises by its name.
pub(super) fn failed<T>(reason: &str) -> Result<T> {
    Err(DataFusionError::Execution(format!("{NAME}(): {reason}")))
}

/// An error that is found before the query runs.
fn refused<T>(reason: &str) -> Result<T> {
    Err(DataFusionError::Plan(format!("{NAME}(): {reason}")))
}

/// The type of a column of vectors.
pub(crate) fn vector_type(dimensions: usize) -> DataType {
    let number = Arc::new(Field::new_list_field(DataType::Float32, true));
    DataType::FixedSizeList(number, i32::try_from(dimensions).unwrap_or(i32::MAX))
}

/// The constant arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constants {
    /// As it is written in the query.
    pub(super) instruction: Option<String>,
    pub(super) dimensions: usize,
}

impl Constants {
    /// Checks the arguments of a call in a plan.
    ///
    /// # Errors
    /// There are too few or too many, one has a wrong type, or `instruction` or `dimensions` is not a constant.
    pub(super) fn of_plan(arguments: &ReturnFieldArgs<'_>, width: usize) -> Result<Self> {
        let given = arguments.arg_fields.len();
        if !(1..=3).contains(&given) {
            return refused(&format!(
                "it takes a text, and may take an instruction and dimensions; here are {given} arguments"
            ));
        }
        let text = arguments.arg_fields[0].data_type();
        if !is_text(text) {
            return refused(&format!(
                "argument `text` has the type {text}: name a column of texts, or write CAST(… AS VARCHAR)"
            ));
        }
        let constant = |place: usize, name: &str| match arguments.scalar_arguments.get(place) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(*value)),
            Some(None) => refused(&format!(
                "argument `{name}` must be a constant, because {}",
                match name {
                    "dimensions" => "it decides the type of the vectors",
                    _ => "all texts of a call have the same instruction",
                }
            )),
        };
        Self::of_values(
            constant(1, "instruction")?,
            constant(2, "dimensions")?,
            width,
        )
    }

    /// The constants of a call that runs, whose plan was checked.
    ///
    /// # Errors
    /// As [`of_plan`](Self::of_plan).
    pub(super) fn of_call(arguments: &[ColumnarValue], width: usize) -> Result<Self> {
        let constant = |place: usize| match arguments.get(place) {
            Some(ColumnarValue::Scalar(value)) => Ok(Some(value)),
            Some(ColumnarValue::Array(_)) => {
                failed("`instruction` and `dimensions` must be constants")
            }
            None => Ok(None),
        };
        Self::of_values(constant(1)?, constant(2)?, width)
    }

    fn of_values(
        instruction: Option<&ScalarValue>,
        dimensions: Option<&ScalarValue>,
        width: usize,
    ) -> Result<Self> {
        if !(1..=WIDEST).contains(&width) {
            return refused(&format!("a model cannot have vectors of {width} numbers"));
        }
        let instruction = match instruction.filter(|value| !value.is_null()) {
            None => None,
            Some(value) => match value.try_as_str() {
                Some(text) => text.map(str::to_owned),
                None => {
                    return refused(&format!(
                        "argument `instruction` has the type {}: write the name of a domain, an instruction in words, or NULL",
                        value.data_type()
                    ));
                }
            },
        };
        let dimensions = match dimensions.filter(|value| !value.is_null()) {
            None => width,
            Some(value) => match (integer(value), value) {
                (Some(wanted), _) if (1..=width as i128).contains(&wanted) => wanted as usize,
                (Some(wanted), _) => {
                    return refused(&format!(
                        "argument `dimensions` is {wanted}; this model's vectors have 1 to {width}"
                    ));
                }
                (None, value) => {
                    return refused(&format!(
                        "argument `dimensions` has the type {}: write a whole number of 1 to {width}",
                        value.data_type()
                    ));
                }
            },
        };
        Ok(Self {
            instruction,
            dimensions,
        })
    }

    /// The prompt before each text.
    ///
    /// # Errors
    /// The instruction is unknown or cannot be used.
    pub(super) fn prompt(&self, model: &ModelInfo) -> Result<Prompt> {
        prompt::resolve(self.instruction.as_deref(), model).or_else(|reason| refused(&reason))
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn integer(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Int8(number) => number.map(i128::from),
        ScalarValue::Int16(number) => number.map(i128::from),
        ScalarValue::Int32(number) => number.map(i128::from),
        ScalarValue::Int64(number) => number.map(i128::from),
        ScalarValue::UInt8(number) => number.map(i128::from),
        ScalarValue::UInt16(number) => number.map(i128::from),
        ScalarValue::UInt32(number) => number.map(i128::from),
        ScalarValue::UInt64(number) => number.map(i128::from),
        _ => None,
    }
}

/// The texts of a call: a column, or one constant for all rows.
#[derive(Debug)]
pub(super) struct Texts {
    array: StringArray,
    is_constant: bool,
}

impl Texts {
    /// # Errors
    /// The argument is not made of texts.
    pub(super) fn of(argument: &ColumnarValue) -> Result<Self> {
        let (array, is_constant) = match argument {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        let array = cast(&array, &DataType::Utf8)?;
        Ok(Self {
            array: array.as_string::<i32>().clone(),
            is_constant,
        })
    }

    /// Each text; `None` for null.
    pub(super) fn array(&self) -> &StringArray {
        &self.array
    }

    /// The vectors of all rows of the batch: a constant's vector is repeated.
    ///
    /// # Errors
    /// Memory is short.
    pub(super) fn for_rows(&self, vectors: ArrayRef, rows: usize) -> Result<ArrayRef> {
        match self.is_constant && rows != vectors.len() {
            true => Ok(take(&vectors, &UInt32Array::from(vec![0; rows]), None)?),
            false => Ok(vectors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constants(
        instruction: &ScalarValue,
        dimensions: &ScalarValue,
    ) -> std::result::Result<Constants, String> {
        Constants::of_values(Some(instruction), Some(dimensions), 256)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn dimensions_are_a_whole_number_within_the_models_width() {
        let of = |dimensions: ScalarValue| constants(&ScalarValue::Null, &dimensions);
        assert_eq!(of(ScalarValue::Int64(Some(64))).unwrap().dimensions, 64);
        assert_eq!(of(ScalarValue::Null).unwrap().dimensions, 256);
        for (wrong, said) in [
            (
                ScalarValue::Int64(Some(0)),
                "`dimensions` is 0; this model's vectors have 1 to 256",
            ),
            (
                ScalarValue::UInt64(Some(u64::MAX)),
                "`dimensions` is 18446744073709551615",
            ),
            (
                ScalarValue::Float64(Some(64.0)),
                "`dimensions` has the type Float64",
            ),
            (ScalarValue::from("64"), "`dimensions` has the type Utf8"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains("embed()") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_instruction_is_a_text_or_null() {
        let of = |instruction: ScalarValue| constants(&instruction, &ScalarValue::Null);
        assert_eq!(of(ScalarValue::Null).unwrap().instruction, None);
        assert_eq!(
            of(ScalarValue::from("legal"))
                .unwrap()
                .instruction
                .as_deref(),
            Some("legal")
        );
        let error = of(ScalarValue::Int64(Some(1))).unwrap_err();
        assert!(
            error.contains("`instruction` has the type Int64"),
            "{error}"
        );
    }

    #[test]
    fn a_plan_needs_texts_and_constants() {
        let field = |data_type| Arc::new(Field::new("a", data_type, true));
        let of = |types: &[DataType], constants: &[Option<&ScalarValue>]| {
            let fields: Vec<_> = types.iter().cloned().map(field).collect();
            let arguments = ReturnFieldArgs {
                arg_fields: &fields,
                scalar_arguments: constants,
            };
            Constants::of_plan(&arguments, 256).map_err(|error| error.to_string())
        };
        assert!(of(&[DataType::Utf8View], &[None]).is_ok());
        let said = |types: &[DataType], constants: &[Option<&ScalarValue>]| {
            of(types, constants).unwrap_err()
        };
        assert!(said(&[], &[]).contains("here are 0 arguments"));
        assert!(said(&[DataType::Int64], &[None]).contains("`text` has the type Int64"));
        let three = [DataType::Utf8, DataType::Utf8, DataType::Int64];
        let words = ScalarValue::from("legal");
        assert!(said(&three, &[None, None, None]).contains("`instruction` must be a constant"));
        assert!(
            said(&three, &[None, Some(&words), None])
                .contains("`dimensions` must be a constant, because it decides the type")
        );
    }
}
