//! Serves vectors from a route of your own: `cargo run --example actix`, then
//! `curl 127.0.0.1:8080/embed -H 'Content-Type: application/json' -d '["cardiac arrest"]'`.

use actix_web::web::{Data, Json};
use actix_web::{App, HttpServer, error, post, web};
use lexivec::Model;

#[post("/embed")]
async fn embed(
    model: Data<Model>,
    texts: Json<Vec<String>>,
) -> actix_web::Result<Json<Vec<Vec<f32>>>> {
    // `Model::embed` blocks, so it runs on a thread for blocking work.
    let vectors = web::block(move || model.embed(&texts)).await?;
    vectors.map(Json).map_err(error::ErrorBadRequest)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = web::block(|| Model::open("models/nano")).await??;
    let model = Data::new(model);
    let server = HttpServer::new(move || App::new().app_data(model.clone()).service(embed));
    Ok(server.bind("127.0.0.1:8080")?.run().await?)
}
