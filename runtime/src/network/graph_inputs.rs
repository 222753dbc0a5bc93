//! Reads the names and shapes of a graph's inputs from its file, because TensorRT needs shapes before there is a
//! session to ask.
//!
//! Decodes only the needed fields of ONNX's protobuf messages. Field numbers are those of onnx.proto3.

use std::path::Path;

use crate::error::{Error, Result};

/// A graph input without an initial value in the graph itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphInput {
    /// The input's name.
    pub(crate) name: String,
    /// The input's dimensions.
    pub(crate) shape: Vec<Dimension>,
}

/// A dimension of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// A fixed size.
    Fixed(usize),
    /// Any size; the symbol may be empty.
    Dynamic(String),
}

/// Reads the inputs of a graph file.
///
/// # Errors
/// The file cannot be read or is not an ONNX model.
pub(crate) fn read(path: &Path) -> Result<Vec<GraphInput>> {
    let load = |reason: String| Error::Load {
        path: path.to_path_buf(),
        reason,
    };
    let bytes = fs_err::read(path).map_err(|e| load(e.to_string()))?;
    parse(&bytes).ok_or_else(|| load("the file is no ONNX model".to_owned()))
}

const MODEL_GRAPH: u64 = 7;
const GRAPH_INPUT: u64 = 11;
const INPUT_NAME: u64 = 1;
const INPUT_TYPE: u64 = 2;
const TYPE_TENSOR: u64 = 1;
const TENSOR_SHAPE: u64 = 2;
const SHAPE_DIMENSION: u64 = 1;
const DIMENSION_VALUE: u64 = 1;
const DIMENSION_SYMBOL: u64 = 2;

fn parse(model: &[u8]) -> Option<Vec<GraphInput>> {
    let graph = message(model, MODEL_GRAPH)?;
    fields(graph)?
        .into_iter()
        .filter_map(|field| match field {
            (GRAPH_INPUT, Value::Bytes(input)) => Some(parse_input(input)),
            _ => None,
        })
        .collect()
}

fn parse_input(input: &[u8]) -> Option<GraphInput> {
    let name = String::from_utf8(message(input, INPUT_NAME)?.to_vec()).ok()?;
    let tensor = message(message(input, INPUT_TYPE)?, TYPE_TENSOR)?;
    // A scalar's shape message is empty, or absent.
    let shape = message(tensor, TENSOR_SHAPE).unwrap_or_default();
    let dimensions = fields(shape)?.into_iter().filter_map(|field| match field {
        (SHAPE_DIMENSION, Value::Bytes(dimension)) => Some(parse_dimension(dimension)),
        _ => None,
    });
    Some(GraphInput {
        name,
        shape: dimensions.collect::<Option<_>>()?,
    })
}

fn parse_dimension(dimension: &[u8]) -> Option<Dimension> {
    let mut found = Dimension::Dynamic(String::new());
    for field in fields(dimension)? {
        match field {
            (DIMENSION_VALUE, Value::Number(size)) => {
                found = Dimension::Fixed(usize::try_from(size).ok()?);
            }
            (DIMENSION_SYMBOL, Value::Bytes(symbol)) => {
                found = Dimension::Dynamic(String::from_utf8(symbol.to_vec()).ok()?);
            }
            _ => {}
        }
    }
    Some(found)
}

/// A field's value, as far as it is needed here.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The last field with this number that holds bytes: a string or a message.
fn message(bytes: &[u8], number: u64) -> Option<&[u8]> {
    let all = fields(bytes)?.into_iter().rev();
    let mut bytes = all.filter_map(|field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    });
    bytes.next()
}

/// The fields of a message; `None` if the bytes are not a message.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| Value::Other)?,
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_a_file_are_read() {
        let inputs = parse(include_bytes!("../../data/identity.onnx")).unwrap();
        let expected = GraphInput {
            name: "x".to_owned(),
            shape: vec![Dimension::Fixed(1)],
        };
        assert_eq!(inputs, [expected]);
    }

    #[test]
    fn symbols_are_kept() {
        let dimension = [0x12, 1, b'T'];
        let symbol = Dimension::Dynamic("T".to_owned());
        assert_eq!(parse_dimension(&dimension), Some(symbol));
    }

    #[test]
    fn bytes_that_are_no_model_give_none() {
        assert_eq!(parse(b"not a model"), None);
        assert_eq!(parse(&[0x3a, 0xff, 0xff]), None);
    }
}
